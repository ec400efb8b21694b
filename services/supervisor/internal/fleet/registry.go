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

// maxRunners bounds how many runners are remembered.
const maxRunners = 10_000

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

// Heard takes an announcement into account and tells whether the runners that
// take starts are different now.
func (r *Registry) Heard(subject string, body []byte, now time.Time) (changed bool, err error) {
	name, err := contracts.ParseAnnounceSubject(subject)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrAnnouncement, err)
	}
	if len(body) > contracts.MaxHeartbeatBytes*4 {
		return false, fmt.Errorf("%w of %s: %d bytes", ErrAnnouncement, name, len(body))
	}
	var a contracts.RunnerAnnouncement
	if err := json.Unmarshal(body, &a); err != nil {
		return false, fmt.Errorf("%w of %s: %w", ErrAnnouncement, name, err)
	}
	if a.Runner != name {
		return false, fmt.Errorf("%w of %s: it names runner %.80q", ErrAnnouncement, name, a.Runner)
	}
	old := r.runners[name]
	if old == nil && len(r.runners) >= maxRunners {
		return false, fmt.Errorf("%w of %s: %d runners are known already", ErrAnnouncement, name, maxRunners)
	}
	if r.runners == nil {
		r.runners = map[string]*entry{}
	}
	r.runners[name] = &entry{RunnerAnnouncement: a, seen: now, available: true}
	return old == nil || !old.available || old.Capacity != a.Capacity || old.Kind != a.Kind, nil
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
