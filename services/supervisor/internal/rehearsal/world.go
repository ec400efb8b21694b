package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/heap"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// world stands in for runners and agents once the rehearsed tree has decided
// differently, and remembers until then what that tree ordered.
type world struct {
	book    *book
	to      tree.Instant
	repeat  bool
	started map[string]tree.Instant
	stopped map[string]tree.Instant
	queue   heap.Heap[event]
	order   int
	// alone is set from the first difference on.
	alone   bool
	from    int
	assumed contracts.RehearsalAssumed
	// met counts the recorded ends that came.
	met int
}

// event is an input on its way.
type event struct {
	tree.Input
	at    tree.Instant
	order int
	// shifted is set when it was recorded at another time, fated when it is a
	// recorded end.
	shifted, fated bool
	// beyond marks the point at which the record of the incarnation ends
	// though the rehearsed one goes on.
	beyond bool
	cut    bool
}

// Before reports whether one input comes before another.
func (e event) Before(o event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

func newWorld(rec Record, repeat bool) *world {
	return &world{book: newBook(rec), to: rec.To, repeat: repeat, started: map[string]tree.Instant{}, stopped: map[string]tree.Instant{}}
}

// ordered takes note of what the rehearsed tree ordered and, where the record
// no longer answers, answers.
func (w *world) ordered(effects []tree.Effect, now tree.Instant) {
	for _, e := range effects {
		switch e.Kind {
		case tree.DoStart:
			w.started[e.Node] = now
			if w.alone {
				w.start(e.Node, e.Incarnation, now)
			}
		case tree.DoStop:
			w.stopped[e.Node] = now
			if w.alone {
				w.stop(e.Node, e.Incarnation, now)
			}
		case tree.DoReport:
			if w.alone {
				w.report(e.Node, e.Incarnation, now)
			}
		}
	}
}

// begin takes over from the record before its decision from.
func (w *world) begin(t *tree.Tree, from int, now tree.Instant) {
	w.alone, w.from = true, from
	for _, h := range w.book.common {
		if h.decision >= from {
			w.push(event{Input: h.Input, at: h.at})
		}
	}
	snapshot := t.Snapshot()
	outstanding := map[string]tree.EffectKind{}
	for _, e := range t.Outstanding() {
		outstanding[e.Node] = e.Kind
	}
	for _, id := range slices.Sorted(maps.Keys(snapshot.Nodes)) {
		switch st := snapshot.Nodes[id].State; {
		case snapshot.Nodes[id].Spec.Agent == nil:
		case outstanding[id] == tree.DoStop:
			w.stop(id, st.Incarnation, w.stopped[id])
		case outstanding[id] == tree.DoReport:
			w.report(id, st.Incarnation, now)
		case st.Phase.Up(), outstanding[id] == tree.DoStart:
			w.start(id, st.Incarnation, w.started[id])
		}
	}
}

// start lets an incarnation live that was ordered at a time; 0 means before
// the record.
func (w *world) start(agent string, incarnation uint64, at tree.Instant) {
	s := w.book.known(agent, incarnation)
	if s == nil || at > 0 && !s.known {
		w.assumed.Starts++
		w.invent(agent, incarnation, at)
		return
	}
	var shift tree.Instant
	if at > 0 {
		shift = at - s.started
	}
	for _, h := range s.events {
		if h.decision >= w.from || shift != 0 {
			w.live(h, incarnation, shift)
		}
	}
	if s.ended() || s.reported > 0 {
		return
	}
	end, cut := w.to, s.stopped > 0
	if cut {
		end = s.stopped
	}
	w.push(event{Input: tree.Input{Node: agent, Incarnation: incarnation}, at: end + shift, beyond: true, cut: cut})
}

// live lets a recorded event of an incarnation come.
func (w *world) live(h happening, incarnation uint64, shift tree.Instant) {
	in := h.Input
	in.Incarnation, in.At = incarnation, h.at+shift
	w.push(event{Input: in, at: h.at + shift, shifted: shift != 0, fated: fate(h.Kind) && h.decision >= w.from})
}

// invent lets an incarnation live that the record does not have.
func (w *world) invent(agent string, incarnation uint64, at tree.Instant) {
	if w.repeat {
		if s := w.book.latest(agent, func(s *script) bool { return s.known && s.ended() }); s != nil {
			for _, h := range s.events {
				in := h.Input
				in.Incarnation, in.At = incarnation, h.at+at-s.started
				w.push(event{Input: in, at: in.At})
			}
			return
		}
	}
	ack, beat := at, at
	model := w.book.latest(agent, func(s *script) bool { _, ok := s.first(tree.Started); return ok && s.known })
	if model != nil {
		h, _ := model.first(tree.Started)
		ack += h.at - model.started
		beat = ack
		if h, ok := model.first(tree.Beat); ok {
			beat = at + h.at - model.started
		}
	}
	w.push(event{Input: tree.Input{Kind: tree.Started, Node: agent, Incarnation: incarnation, Reason: "assumed"}, at: ack})
	w.push(event{Input: tree.Input{Kind: tree.Beat, Node: agent, Incarnation: incarnation, Reason: "assumed"}, at: beat})
}

// stop confirms an incarnation's end as late as the record has it.
func (w *world) stop(agent string, incarnation uint64, at tree.Instant) {
	took := tree.Instant(-1)
	s := w.book.known(agent, incarnation)
	if at == 0 && s != nil {
		at = s.stopped // ordered before the record
	}
	if s == nil || s.took < 0 {
		s = w.book.latest(agent, func(s *script) bool { return s.took >= 0 })
	}
	if s != nil {
		took = s.took
	}
	if took < 0 {
		w.assumed.Stops++
		took = 0
	}
	w.push(event{Input: tree.Input{Kind: tree.Stopped, Node: agent, Incarnation: incarnation}, at: at + took})
}

// report lets the report that an agent is unverified come back.
func (w *world) report(agent string, incarnation uint64, at tree.Instant) {
	if s := w.book.known(agent, incarnation); s != nil {
		at += s.told
	}
	w.push(event{Input: tree.Input{Kind: tree.Failed, Node: agent, Incarnation: incarnation, Reason: string(contracts.ReasonUnverified)}, at: at})
}

func (w *world) push(e event) {
	if e.at <= w.to {
		w.order++
		e.order = w.order
		w.queue.Push(e)
	}
}

// maxSteps ends rehearsals that get nowhere, maxAtOnce those that do so at one
// instant, for each node.
const (
	maxSteps  = 2_000_000
	maxAtOnce = 1000
)

// alone lets the rehearsed tree go on by itself, from before a decision of the
// record.
func (r *run) alone(from int) error {
	now := r.rehearsed.now
	r.world.begin(r.alt, from, now)
	r.alt.Deciding("")
	w := r.world
	began, since := 0, now
	for step := 0; ; step++ {
		if now > since {
			began, since = step, now
		}
		if step == maxSteps || step-began > maxAtOnce*(1+r.alt.Len()) {
			return fmt.Errorf("%w: after %d steps it is only %s", ErrEndless, step, now.Time().Format(time.RFC3339Nano))
		}
		due, ticking := r.alt.Next()
		if ticking && due <= r.rec.To && (len(w.queue) == 0 || due < w.queue[0].at) {
			now = max(now, due)
			if _, err := r.stepAlt(&tree.Input{Kind: tree.Tick}, now); err != nil {
				return err
			}
			continue
		}
		if len(w.queue) == 0 {
			break
		}
		e := w.queue.Pop()
		now = max(now, e.at)
		if err := r.deliver(e, now); err != nil {
			return err
		}
	}
	for _, h := range w.book.fates {
		if h.decision >= from {
			w.assumed.Dropped++
		}
	}
	w.assumed.Dropped -= w.met
	return nil
}

// deliver lets an event come.
func (r *run) deliver(e event, now tree.Instant) error {
	switch {
	case e.Kind == takeover:
		return r.reloadAlt()
	case e.beyond:
		return r.goOn(e, now)
	}
	before := r.alt.Revision()
	if _, err := r.stepAlt(r.under(e.Input), now); err != nil {
		return err
	}
	if r.alt.Revision() != before {
		if e.shifted {
			r.world.assumed.Shifted++
		}
		if e.fated {
			r.world.met++
		}
	}
	return nil
}

// goOn lets an incarnation live beyond its record.
func (r *run) goOn(e event, now tree.Instant) error {
	_, st, ok := r.alt.Lookup(e.Node)
	if !ok || st.Incarnation != e.Incarnation || st.Phase == tree.Stopping || st.Phase != tree.Starting && !st.Phase.Up() {
		return nil
	}
	if e.cut {
		r.world.assumed.Unended++
	}
	for _, kind := range []tree.InputKind{tree.Started, tree.Beat} {
		if st.Phase == tree.Starting && kind == tree.Started || (st.Phase == tree.Starting || st.Phase == tree.Verifying) && kind == tree.Beat {
			in := tree.Input{Kind: kind, Node: e.Node, Incarnation: e.Incarnation, Reason: "assumed"}
			if _, err := r.stepAlt(&in, now); err != nil {
				return err
			}
		}
	}
	return nil
}
