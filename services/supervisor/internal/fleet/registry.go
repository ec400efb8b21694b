// Package fleet deals with the runners: it knows which are there, and gives
// them commands until they are carried out.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// ErrAnnouncement tells that an announcement is malformed.
var ErrAnnouncement = errors.New("invalid announcement")

// maxRunners bounds how many runners are remembered, maxAnnouncement what one
// may say.
const (
	maxRunners      = 10_000
	maxAnnouncement = 16 << 10
)

// Registry knows the runners by their announcements. It is not safe for
// concurrent use. The zero value knows none.
type Registry struct {
	runners map[string]*entry
	visits  uint64
	// attentive is since when nothing has kept this side from hearing.
	attentive time.Time
}

type entry struct {
	contracts.RunnerAnnouncement
	seen      time.Time
	available bool
	// held keeps a runner that is there again from taking starts until it has
	// stopped what is wanted no more; visit counts its returns.
	held  bool
	visit uint64
	// expected marks a runner that has agents but was never heard of.
	expected bool
	// lost marks one whose agents were given up.
	lost bool
	strain
}

// News is what an announcement says that was not known.
type News struct {
	// Changed tells that the runners that take starts are different now.
	Changed bool
	// Back names a runner that was away or has started anew, else empty.
	Back string
	// Visit is not 0 when it takes no starts before [Registry.Admit].
	Visit uint64
	// BootID is the boot of the host of the runner that is back.
	BootID string
	// Rebooted tells that its host has booted since: whatever ran there is gone.
	Rebooted bool
}

// Heard takes an announcement into account.
func (r *Registry) Heard(subject string, body []byte, now time.Time) (News, error) {
	a, err := decodeAnnouncement(subject, body)
	if err != nil {
		return News{}, err
	}
	old := r.runners[a.Runner]
	if old == nil && len(r.runners) >= maxRunners {
		return News{}, fmt.Errorf("%w of %s: %d runners are known already", ErrAnnouncement, a.Runner, maxRunners)
	}
	if r.runners == nil {
		r.runners = map[string]*entry{}
	}
	e := &entry{RunnerAnnouncement: a, seen: now}
	r.runners[a.Runner] = e
	var news News
	if old != nil {
		e.available, e.held, e.visit, e.strain = old.available, old.held, old.visit, old.strain
		news.Rebooted = old.BootID != "" && a.BootID != "" && old.BootID != a.BootID
	}
	if old == nil || !old.available && !old.held || old.Session != a.Session || news.Rebooted {
		// Whoever was there all along and only has a new session goes on
		// taking starts.
		news.Back, news.BootID = a.Runner, a.BootID
		r.visits++
		e.held, e.visit = !e.available || news.Rebooted, r.visits
		news.Visit = e.visit
		if e.held {
			news.Changed, e.available = e.available, false
		}
	}
	if e.available {
		news.Changed = old.Capacity != a.Capacity || old.Kind != a.Kind || !maps.Equal(old.Labels, a.Labels)
	}
	return news, nil
}

func decodeAnnouncement(subject string, body []byte) (contracts.RunnerAnnouncement, error) {
	var a contracts.RunnerAnnouncement
	name, err := contracts.ParseAnnounceSubject(subject)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrAnnouncement, err)
	}
	if len(body) > maxAnnouncement {
		return a, fmt.Errorf("%w of %s: %d bytes; at most %d", ErrAnnouncement, name, len(body), maxAnnouncement)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("%w of %s: %w", ErrAnnouncement, name, err)
	}
	if a.Runner != name {
		return a, fmt.Errorf("%w of %s: it names runner %.80q", ErrAnnouncement, name, a.Runner)
	}
	if a.Capacity < 0 || a.Agents < 0 {
		return a, fmt.Errorf("%w of %s: capacity and agents must not be negative", ErrAnnouncement, name)
	}
	return a, nil
}

// Expired is what has become of runners that are not heard.
type Expired struct {
	// Changed reports whether the runners that take starts are different now.
	Changed bool
	// Away are those that are not there from now on, Forgotten those that were
	// not heard for a day.
	Away, Forgotten []string
}

// Expire makes runners unavailable that have not been heard of for long enough.
// After a day they are forgotten.
func (r *Registry) Expire(now time.Time) (x Expired) {
	for name, e := range r.runners {
		switch silent := now.Sub(e.seen); {
		case silent > 24*time.Hour:
			delete(r.runners, name)
			x.Forgotten = append(x.Forgotten, name)
		case silent > contracts.RunnerTimeout && (e.available || e.held):
			x.Changed = x.Changed || e.available
			x.Away = append(x.Away, name)
			e.available, e.held = false, false
		}
		x.Changed = e.relax(now) || x.Changed
	}
	return x
}

// Admit lets a runner take starts from now on, and reports whether it does: a
// later return, or having gone again, needs another visit.
func (r *Registry) Admit(runner string, visit uint64) (changed bool) {
	e := r.runners[runner]
	if e == nil || e.visit != visit || !e.held {
		return false
	}
	e.held, e.available = false, true
	return true
}

// Visiting reports whether a visit is still the last one of a runner that is
// there.
func (r *Registry) Visiting(runner string, visit uint64) bool {
	e := r.runners[runner]
	return e != nil && e.visit == visit && (e.held || e.available)
}

// Holds reports whether a runner takes no starts before it has been visited.
func (r *Registry) Holds(runner string) bool {
	e := r.runners[runner]
	return e != nil && e.held
}

// Held is the number of such runners.
func (r *Registry) Held() (n int) {
	for _, e := range r.runners {
		if e.held {
			n++
		}
	}
	return n
}

// Visit returns the number of the last visit of a runner that is there.
func (r *Registry) Visit(runner string) (visit uint64, ok bool) {
	if e := r.runners[runner]; e != nil && (e.held || e.available) {
		return e.visit, true
	}
	return 0, false
}

// Expect notes a runner that should be there. Silence counts from now on if it
// was never heard of.
func (r *Registry) Expect(runner string, now time.Time) {
	if r.runners[runner] != nil {
		return
	}
	if r.runners == nil {
		r.runners = map[string]*entry{}
	}
	r.runners[runner] = &entry{RunnerAnnouncement: contracts.RunnerAnnouncement{Runner: runner}, seen: now, expected: true}
}

// Distrust makes all silence count from now on only: until now, this side may
// have been unable to hear.
func (r *Registry) Distrust(now time.Time) { r.attentive = now }

// Silent lists the runners not heard of for at least that long, and when each
// was heard of last; the zero time means never.
func (r *Registry) Silent(now time.Time, least time.Duration) map[string]time.Time {
	out := map[string]time.Time{}
	for name, e := range r.runners {
		since := e.seen
		if r.attentive.After(since) {
			since = r.attentive
		}
		if now.Sub(since) >= least {
			out[name] = e.seen
			if e.expected {
				out[name] = time.Time{}
			}
		}
	}
	return out
}

// Lose notes that a runner's agents were given up, and reports whether that is
// new. It lasts until the runner is heard of.
func (r *Registry) Lose(runner string) bool {
	e := r.runners[runner]
	if e == nil || e.lost {
		return false
	}
	e.lost = true
	return true
}

// Available lists the runners that take starts.
func (r *Registry) Available() []tree.Runner {
	var out []tree.Runner
	for name, e := range r.runners {
		if e.available && !e.strained {
			out = append(out, tree.Runner{Name: name, Capacity: e.Capacity, Named: e.Kind == kindGoroutine, Labels: e.Labels})
		}
	}
	slices.SortFunc(out, func(a, b tree.Runner) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// kindGoroutine runners are never chosen for `runner: any`.
const kindGoroutine = "goroutine"

// Views lists all runners by name.
func (r *Registry) Views() []contracts.RunnerView {
	out := make([]contracts.RunnerView, 0, len(r.runners))
	for name, e := range r.runners {
		if e.expected && !e.lost {
			continue
		}
		out = append(out, contracts.RunnerView{
			Runner: name, Kind: e.Kind, Host: e.Host, Available: e.available && !e.strained, Agents: e.Agents,
			Capacity: e.Capacity, Labels: e.Labels, Seen: e.seen.UTC(), Lost: e.lost, NoResources: e.strained,
			BootID: e.BootID, Session: e.Session, Held: e.held,
		})
	}
	slices.SortFunc(out, func(a, b contracts.RunnerView) int { return strings.Compare(a.Runner, b.Runner) })
	return out
}
