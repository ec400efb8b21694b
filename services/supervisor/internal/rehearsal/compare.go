package rehearsal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// sameChanges reports whether changes are those recorded.
func sameChanges(recorded, changes []tree.Change) bool {
	return len(recorded) == len(changes) && maps.EqualFunc(asJSON(recorded), asJSON(changes), bytes.Equal)
}

// asJSON returns one decision's changes as the log has them, by node, but for the
// numbers that order what waits for a supervisor or for budget. A tree that was
// loaded counts from those that still wait, not from all that ever did, so only
// the order means anything: each number becomes its rank among the decision's.
// As later decisions give higher numbers, that is the order of all that waits.
func asJSON(changes []tree.Change) map[string][]byte {
	var all []uint64
	changes = slices.Clone(changes)
	for i, c := range changes {
		changes[i].State = copied(c.State)
		for _, n := range numbers(changes[i].State) {
			all = append(all, *n)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	out := make(map[string][]byte, len(changes))
	for _, c := range changes {
		for _, n := range numbers(c.State) {
			i, _ := slices.BinarySearch(all, *n)
			*n = uint64(i) + 1
		}
		raw, err := json.Marshal(c)
		if err != nil {
			raw = nil // it came as JSON
		}
		out[c.ID] = raw
	}
	return out
}

// copied returns a state whose numbers can be changed.
func copied(st *tree.State) *tree.State {
	if st == nil {
		return nil
	}
	c := *st
	if st.Command != nil {
		cmd := *st.Command
		c.Command = &cmd
	}
	return &c
}

// numbers returns those of a state's numbers that only order, and are set.
func numbers(st *tree.State) []*uint64 {
	if st == nil {
		return nil
	}
	all := []*uint64{&st.Ticket}
	if st.Command != nil {
		all = append(all, &st.Command.Queued)
	}
	return slices.DeleteFunc(all, func(n *uint64) bool { return *n == 0 })
}

// sameEffects reports whether effects are those recorded.
func sameEffects(recorded []contracts.DecisionEffect, effects []tree.Effect) bool {
	effects = shown(effects)
	return slices.EqualFunc(recorded, effects, func(a contracts.DecisionEffect, b tree.Effect) bool {
		due := a.Due == nil && b.Due == 0 || a.Due != nil && a.Due.UnixNano() == int64(b.Due)
		return a.Kind == decisionlog.EffectWord(b.Kind) && a.Node == b.Node && a.Incarnation == b.Incarnation && a.Runner == b.Runner && a.Action == string(b.Action) && due
	})
}

// shown leaves answers to operators out.
func shown(effects []tree.Effect) []tree.Effect {
	out := make([]tree.Effect, 0, len(effects))
	for _, e := range effects {
		if e.Kind != tree.DoReply {
			out = append(out, e)
		}
	}
	return out
}

// difference lists what is on one side only, or gives nil.
func difference(recorded, rehearsed []tree.Effect) *contracts.RehearsalDifference {
	a, b := sentences(recorded), sentences(rehearsed)
	if slices.Equal(a, b) {
		return nil
	}
	d := &contracts.RehearsalDifference{Recorded: without(a, b), Rehearsed: without(b, a)}
	if d.Recorded == nil && d.Rehearsed == nil {
		d.Recorded, d.Rehearsed = a, b // the order differs
	}
	return d
}

// said returns an input as a sentence.
func said(in contracts.DecisionInput) string {
	s := in.Kind
	if in.Node != "" {
		s += " " + in.Node
	}
	if in.Detail != "" {
		s += ": " + in.Detail
	}
	return s
}

func without(a, b []string) (out []string) {
	count := map[string]int{}
	for _, s := range b {
		count[s]++
	}
	for _, s := range a {
		if count[s]--; count[s] < 0 {
			out = append(out, s)
		}
	}
	return out
}

func sentences(effects []tree.Effect) []string {
	var out []string
	for _, e := range shown(effects) {
		s := decisionlog.EffectWord(e.Kind) + " " + e.Node
		if e.Incarnation > 0 {
			s += fmt.Sprintf(" incarnation %d", e.Incarnation)
		}
		if e.Runner != "" {
			s += " on " + e.Runner
		}
		if e.Due > 0 {
			s += " until " + e.Due.Time().Format("15:04:05.000000")
		}
		if e.Kill {
			s += " by force"
		}
		out = append(out, s)
	}
	return out
}
