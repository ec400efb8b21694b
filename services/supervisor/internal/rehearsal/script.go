package rehearsal

import (
	"maps"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// script is what the record tells of one incarnation.
type script struct {
	// started is when its start was ordered; known is false when that was
	// before the record.
	started tree.Instant
	known   bool
	// stopped is when its stop was ordered, 0 for never, and took how long
	// until that was confirmed, -1 for unknown.
	stopped, took tree.Instant
	// reported is when it was reported as unverified, 0 for never, and told
	// how long until that came back.
	reported, told tree.Instant
	events         []happening
}

// happening is a recorded input that was no answer to an order to stop.
type happening struct {
	tree.Input
	at tree.Instant
	// decision is the index of the decision that it is from.
	decision int
}

// fate reports whether an input ends an incarnation.
func fate(k tree.InputKind) bool {
	return k == tree.Exited || k == tree.StartFailed || k == tree.Failed || k == tree.Lost
}

// ended reports whether the record has the incarnation's own end.
func (s *script) ended() bool {
	return slices.ContainsFunc(s.events, func(h happening) bool { return fate(h.Kind) })
}

// first returns the first event of a kind.
func (s *script) first(k tree.InputKind) (happening, bool) {
	i := slices.IndexFunc(s.events, func(h happening) bool { return h.Kind == k && !h.Unwell })
	if i < 0 {
		return happening{}, false
	}
	return s.events[i], true
}

// book is the whole record, by agent and incarnation.
type book struct {
	scripts map[string]map[uint64]*script
	// common are the inputs that are not about an incarnation: operators',
	// runners', changes of supervisor and configuration.
	common []happening
	// fates counts the recorded ends.
	fates []happening
}

// takeover stands for a change of supervisor, which is no input of the tree.
const takeover tree.InputKind = decisionlog.Takeover

func newBook(rec Record) *book {
	b := &book{scripts: map[string]map[uint64]*script{}}
	current := map[string]uint64{}
	for id, n := range rec.Tree.Nodes {
		if n.Spec.Agent == nil {
			continue
		}
		current[id] = n.State.Incarnation
		s := b.script(id, n.State.Incarnation)
		if n.State.Phase == tree.Stopping {
			s.stopped = max(1, n.State.Since)
		}
		if n.State.Phase == tree.Unverified {
			s.reported = rec.From
		}
	}
	for i := range rec.Past {
		d := rec.Past[i]
		for k := range d.Inputs {
			b.input(d, i, k, current)
			for _, e := range d.Effects {
				if e.Input == k {
					b.effect(e, d.At, current)
				}
			}
		}
	}
	return b
}

func (b *book) script(agent string, incarnation uint64) *script {
	of := b.scripts[agent]
	if of == nil {
		of = map[uint64]*script{}
		b.scripts[agent] = of
	}
	s := of[incarnation]
	if s == nil {
		s = &script{took: -1}
		of[incarnation] = s
	}
	return s
}

// known returns the script of an incarnation, or nil.
func (b *book) known(agent string, incarnation uint64) *script { return b.scripts[agent][incarnation] }

func (b *book) input(d *decisionlog.Decision, index, k int, current map[string]uint64) {
	if d.Inputs[k].Kind == decisionlog.Takeover {
		b.common = append(b.common, happening{Input: tree.Input{Kind: takeover}, at: d.At, decision: index})
		return
	}
	in, err := decisionlog.ReadInput(d.Inputs[k])
	if err != nil {
		return // the run itself reads it, and says so
	}
	h := happening{Input: in, at: d.At, decision: index}
	switch in.Kind {
	case tree.Tick:
		return
	case tree.Order, tree.Runners, tree.Configure:
		b.common = append(b.common, h)
		return
	}
	if h.Incarnation == 0 {
		h.Incarnation = current[in.Node]
	}
	s := b.script(in.Node, h.Incarnation)
	switch {
	case s.stopped > 0:
		if s.took < 0 && (in.Kind == tree.Stopped || in.Kind == tree.Exited || in.Kind == tree.Lost) {
			s.took = d.At - s.stopped
		}
		return
	case s.reported > 0 && in.Kind == tree.Failed && strings.HasPrefix(in.Reason, string(contracts.ReasonUnverified)):
		s.told = d.At - s.reported
		return
	}
	s.events = append(s.events, h)
	if fate(in.Kind) {
		b.fates = append(b.fates, h)
	}
}

func (b *book) effect(e contracts.DecisionEffect, at tree.Instant, current map[string]uint64) {
	switch decisionlog.EffectKind(e.Kind) {
	case tree.DoStart:
		current[e.Node] = e.Incarnation
		s := b.script(e.Node, e.Incarnation)
		s.started, s.known = at, true
	case tree.DoStop:
		b.script(e.Node, e.Incarnation).stopped = at
	case tree.DoReport:
		b.script(e.Node, e.Incarnation).reported = at
	}
}

// latest returns the agent's last incarnation that fits, or nil.
func (b *book) latest(agent string, fits func(*script) bool) *script {
	all := slices.Sorted(maps.Keys(b.scripts[agent]))
	for _, inc := range slices.Backward(all) {
		if s := b.scripts[agent][inc]; fits(s) {
			return s
		}
	}
	return nil
}
