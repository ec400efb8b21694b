// Package fleet deals with the runners: it knows which are there, and gives
// them commands until they are carried out.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
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
}

type entry struct {
	contracts.RunnerAnnouncement
	seen      time.Time
	available bool
}

// News is what an announcement says that was not known.
type News struct {
	// Changed tells that the runners that take starts are different now.
	Changed bool
	// Back names a runner that was away or has started anew, else empty.
	Back string
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
	r.runners[a.Runner] = &entry{RunnerAnnouncement: a, seen: now, available: true}
	var news News
	news.Changed = old == nil || !old.available || old.Capacity != a.Capacity || old.Kind != a.Kind
	if old == nil || !old.available || old.Session != a.Session {
		news.Back = a.Runner
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

// Expire makes runners unavailable that have not been heard of for long enough
// and tells whether there were any. After a day they are forgotten.
func (r *Registry) Expire(now time.Time) (changed bool) {
	for name, e := range r.runners {
		switch silent := now.Sub(e.seen); {
		case silent > 24*time.Hour:
			delete(r.runners, name)
		case silent > contracts.RunnerTimeout && e.available:
			e.available, changed = false, true
		}
	}
	return changed
}

// Available lists the runners that take starts.
func (r *Registry) Available() []tree.Runner {
	var out []tree.Runner
	for name, e := range r.runners {
		if e.available {
			out = append(out, tree.Runner{Name: name, Capacity: e.Capacity, Named: e.Kind == kindGoroutine})
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
		out = append(out, contracts.RunnerView{
			Runner: name, Host: e.Host, Available: e.available, Agents: e.Agents,
			Capacity: e.Capacity, Labels: e.Labels, Seen: e.seen.UTC(),
		})
	}
	slices.SortFunc(out, func(a, b contracts.RunnerView) int { return strings.Compare(a.Runner, b.Runner) })
	return out
}
