package watch

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const (
	// canaryEvery is how often the detector beats itself. Beyond canaryLate
	// without hearing it, its clock stands still until it does: the beats of
	// agents are then as late.
	canaryEvery = 100 * time.Millisecond
	canaryLate  = 250 * time.Millisecond
	// canaryGone is how late it may be before it is taken for one that never
	// comes.
	canaryGone = 30 * time.Second
	// canaries is how many may be under way at once.
	canaries = 256
)

// canary is the detector's own heartbeat. It goes to the server and comes back
// through the very subscription on which agents are heard, behind all that they
// sent before it. So silence is theirs only as far as the canary has come back.
type canary struct {
	mu sync.Mutex
	// sent and back are the numbers of the last one sent and the last that
	// came back; at are the instants of sending. A canary that never came back
	// at all tells nothing: the server may not allow it.
	sent, back uint64
	armed      bool
	at         [canaries]time.Time
	late       time.Duration // of the last that came back
}

// next gives the body of a canary to be sent, if one is due, or one is wanted
// now.
func (c *canary) next(now time.Time, wanted bool) (body []byte, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !wanted && c.sent > 0 && now.Sub(c.at[c.sent%canaries]) < canaryEvery || c.sent-c.back >= canaries-1 {
		return nil, false
	}
	c.sent++
	c.at[c.sent%canaries] = now
	return strconv.AppendUint(nil, c.sent, 10), true
}

// heard takes note of one that came back, and gives its number; 0 is none.
func (c *canary) heard(body []byte, now time.Time) uint64 {
	n, err := strconv.ParseUint(string(body), 10, 64)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || n <= c.back || n > c.sent {
		return 0
	}
	c.back, c.armed = n, true
	c.late = now.Sub(c.at[n%canaries])
	return n
}

// following is the number of the next one to be sent; works is false when they
// do not come back here.
func (c *canary) following() (n uint64, works bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent + 1, c.armed
}

// disarm says that they do not come back here, until one does.
func (c *canary) disarm() {
	c.mu.Lock()
	c.armed, c.back = false, c.sent
	c.mu.Unlock()
}

// overdue is how long the oldest that has not come back is under way.
func (c *canary) overdue(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed || c.back == c.sent {
		return 0
	}
	return now.Sub(c.at[(c.back+1)%canaries])
}

// works tells whether canaries come back at all, and how late the last was.
func (c *canary) works() (armed bool, late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.armed, c.late
}

// lost says that those under way will not come back.
func (c *canary) lost() {
	c.mu.Lock()
	c.back = c.sent
	c.mu.Unlock()
}

// sing sends a canary, if one is due or wanted.
func (w *Watcher) sing(wanted bool) {
	if !w.env.NC.IsConnected() {
		return
	}
	if body, due := w.canary.next(time.Now(), wanted); due {
		_ = w.env.NC.Publish(w.canarySubject(), body)
	}
}

func (w *Watcher) canarySubject() string { return contracts.CanarySubject(w.env.Instance) }

// heardCanary takes a heartbeat of a detector, this one or another.
func (w *Watcher) heardCanary(m *nats.Msg) bool {
	if !strings.HasPrefix(m.Subject, contracts.CanaryPrefix) {
		return false
	}
	instance, err := contracts.ParseCanarySubject(m.Subject)
	if err != nil {
		return false
	}
	back := uint64(0)
	if instance == w.env.Instance {
		back = w.canary.heard(m.Data, time.Now())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers.heard(w.now(), instance)
	if back > 0 {
		w.confirm(w.now(), func(u unconfirmed) bool { return u.canary <= back })
	}
	return true
}
