package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// store is an event stream that is away until it is opened.
type store struct {
	mu   sync.Mutex
	open bool
	ids  []string
	seen map[string]int
}

func (s *store) publish(_ context.Context, ev contracts.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[ev.Entity]++
	if !s.open {
		return errors.New("away")
	}
	s.ids = append(s.ids, ev.Entity)
	return nil
}

func (s *store) stored() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func runOutbox(t *testing.T, needless func(letter) bool, body func(t *testing.T, o *outbox, s *store)) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{seen: map[string]int{}}
		o := newOutbox(needless, s.publish, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { o.run(ctx); close(done) }()
		body(t, o, s)
		cancel()
		<-done
	})
}

func about(agent string, n int) letter {
	return letter{agent: agent, incarnation: 1, event: contracts.Event{Entity: fmt.Sprint(agent, n), Type: contracts.AgentFailed}}
}

// Whatever happens to the stream, every event is stored once it is back, and
// those of one agent in their order.
func TestEventsWaitForTheStream(t *testing.T) {
	runOutbox(t, func(letter) bool { return false }, func(t *testing.T, o *outbox, s *store) {
		for i := range 200 {
			o.add(about(fmt.Sprint("a", i%20, "-"), i))
		}
		<-time.After(time.Minute)
		if o.waiting() != 200 || len(s.stored()) != 0 {
			t.Errorf("%d wait, %d stored", o.waiting(), len(s.stored()))
		}
		s.mu.Lock()
		s.open = true
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if left := o.flush(ctx); left != 0 || len(s.stored()) != 200 {
			t.Fatalf("%d left, %d stored", left, len(s.stored()))
		}
		for a := range 20 {
			var got []string
			for _, id := range s.stored() {
				if slices.Contains(agentsOwn(a), id) {
					got = append(got, id)
				}
			}
			if !slices.Equal(got, agentsOwn(a)) {
				t.Errorf("agent %d: %v", a, got)
			}
		}
	})
}

func agentsOwn(a int) (ids []string) {
	for i := a; i < 200; i += 20 {
		ids = append(ids, fmt.Sprint("a", a, "-", i))
	}
	return ids
}

// A verdict that an exit has overtaken is not published any more.
func TestNeedlessEventsAreDropped(t *testing.T) {
	var mu sync.Mutex
	ended := false
	needless := func(l letter) bool {
		mu.Lock()
		defer mu.Unlock()
		return ended && l.agent == "dead"
	}
	runOutbox(t, needless, func(t *testing.T, o *outbox, s *store) {
		o.add(about("dead", 0))
		o.add(about("silent", 0))
		<-time.After(10 * time.Second)
		mu.Lock()
		ended = true
		mu.Unlock()
		s.mu.Lock()
		s.open = true
		s.mu.Unlock()
		<-time.After(10 * time.Second)
		if !slices.Equal(s.stored(), []string{"silent0"}) || o.waiting() != 0 {
			t.Errorf("stored %v, %d wait", s.stored(), o.waiting())
		}
	})
}

func TestMinorEventsAreBounded(t *testing.T) {
	runOutbox(t, func(letter) bool { return false }, func(t *testing.T, o *outbox, _ *store) {
		for i := range maxMinor {
			if !o.room("a") {
				t.Fatalf("no room with %d waiting", i)
			}
			o.add(about("a", i))
		}
		if o.room("a") {
			t.Error("there is no end of room")
		}
		o.add(about("a", 0)) // a verdict always has a place
		if n := o.waiting(); n != maxMinor+1 {
			t.Errorf("%d wait, want %d", n, maxMinor+1)
		}
		for i := range 5 {
			if o.due("stall") != (i == 0) {
				t.Errorf("report %d: reports are not limited", i)
			}
		}
		<-time.After(rarely)
		if !o.due("stall") {
			t.Error("a report is not due any more")
		}
	})
}
