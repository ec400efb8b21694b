package rehearsal

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// asJSON gives a change as the log has it, but for the tickets of those who
// wait for their supervisor: only their order means anything.
func asJSON(c tree.Change) []byte {
	if c.State != nil {
		st := *c.State
		st.Ended = min(st.Ended, 1)
		if st.Command != nil {
			cmd := *st.Command
			cmd.Queued = min(cmd.Queued, 1)
			st.Command = &cmd
		}
		c.State = &st
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil // it came as JSON
	}
	return raw
}

// sameEffects tells whether effects are those recorded.
func sameEffects(recorded []contracts.DecisionEffect, effects []tree.Effect) bool {
	effects = shown(effects)
	return slices.EqualFunc(recorded, effects, func(a contracts.DecisionEffect, b tree.Effect) bool {
		due := a.Due == nil && b.Due == 0 || a.Due != nil && a.Due.UnixNano() == int64(b.Due)
		return a.Kind == word(b.Kind) && a.Node == b.Node && a.Incarnation == b.Incarnation && a.Runner == b.Runner && a.Action == string(b.Action) && due
	})
}

// word is the kind of an effect as decisions call it.
func word(k tree.EffectKind) string {
	switch k {
	case tree.NoteRestart:
		return "delay"
	case tree.DoReport:
		return "emit"
	}
	return string(k)
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
		s := word(e.Kind) + " " + e.Node
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
