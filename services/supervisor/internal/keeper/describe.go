package keeper

import (
	"context"
	"log/slog"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/recording"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// describe adds an input and what it led to to a decision.
func (k *Keeper) describe(d *journal.Decision, a arrival, effects []tree.Effect) {
	if d.Cause == "" {
		d.Cause, d.Chain = a.Event, a.Chain
	}
	k.recordRunners(d)
	in := k.recorded(a, d.At)
	d.Inputs = append(d.Inputs, in)
	for _, e := range effects {
		if d.Cause == "" {
			// A timer or a result goes on with the story of what it moves.
			d.Cause, d.Chain = e.Event, e.Chain
		}
		if e.Kind == tree.DoReply {
			continue
		}
		d.Effects = append(d.Effects, k.effectWords(e, len(d.Inputs)-1))
		d.Type = graver(d.Type, e.Kind)
	}
	if d.Type == "" {
		d.Type = contracts.TreeDecided
	}
}

// graver names a decision after the gravest thing in it.
func graver(t contracts.EventType, k tree.EffectKind) contracts.EventType {
	switch {
	case k == tree.Propose && (t == "" || t == contracts.TreeProposed):
		return contracts.TreeProposed
	case k == tree.Propose:
		return t
	case k == tree.NoteGiveUp:
		return contracts.TreeGaveUp
	case t == contracts.TreeGaveUp:
		return t
	case k == tree.NoteEscalate, k == tree.NoteTerminate, k == tree.NoteCoolOff:
		return contracts.TreeEscalated
	case t == "", t == contracts.TreeProposed:
		return contracts.TreeDecided
	}
	return t
}

// tell logs what operators want to see of a stored decision.
func (k *Keeper) tell(e tree.Effect) {
	say := func(level slog.Level, what string, about ...any) {
		k.env.Log.Log(context.Background(), level, what, append([]any{"tree", k.opt.Tree, "event", e.Event}, about...)...)
	}
	switch e.Kind {
	case tree.NoteRestart:
		say(slog.LevelInfo, "restarting", "agent", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-k.last), "reason", e.Reason)
	case tree.NoteRunning:
		say(slog.LevelInfo, "running", "agent", e.Node, "incarnation", e.Incarnation)
	case tree.NoteFinished:
		say(slog.LevelInfo, "finished", "agent", e.Node, "incarnation", e.Incarnation, "reason", e.Reason)
	case tree.NoteBudget:
		say(slog.LevelWarn, "restart waits for budget", "agent", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-k.last), "reason", e.Reason)
	case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteIgnore:
		say(slog.LevelWarn, "restart limit", "node", e.Node, "policy", string(e.Kind), "reason", e.Reason)
	case tree.Propose:
		say(slog.LevelInfo, "proposal", "node", e.Node, "would", string(e.Action), "reason", e.Reason)
	case tree.NoteMode:
		say(slog.LevelInfo, "mode changed", "node", e.Node, "change", e.Reason)
	case tree.NoteForeign:
		say(slog.LevelWarn, "not started, as it runs already", "agent", e.Node, "reason", e.Reason)
	case tree.NoteGiveUp:
		say(slog.LevelError, "giving up the tree", "node", e.Node, "reason", e.Reason)
	}
}

// command gives what runners or the log must hear of an effect, if anything.
func (k *Keeper) command(e tree.Effect) (fleet.Command, bool) {
	switch e.Kind {
	case tree.DoStart, tree.DoStop, tree.DoReport:
		spec, st, ok := k.tree.Lookup(e.Node)
		if !ok || spec.Agent == nil || st.Phase.Apart() {
			break // or it was let go by what was decided together with it
		}
		return fleet.Command{Effect: e, Spec: spec, Decision: st.Decision}, true
	}
	return fleet.Command{}, false
}

// recorded is what the log keeps of an arrival: enough to decide on it again.
func (k *Keeper) recorded(a arrival, now time.Time) contracts.DecisionInput {
	in, err := recording.Write(a.Input)
	if err != nil {
		// What came as JSON can be written as JSON.
		k.env.Log.Error("input not recorded", "tree", k.opt.Tree, "error", err)
	}
	in.Sequence = a.seq
	if in.At.IsZero() {
		in.At = now
	}
	return in
}

// recordRunners adds the runners available to a decision when they are others
// than the log says: they change nothing by themselves, but what is decided
// next depends on them.
func (k *Keeper) recordRunners(d *journal.Decision) {
	if k.runners == nil {
		return
	}
	d.Inputs = append(d.Inputs, k.recorded(*k.runners, d.At))
	k.runners = nil
}

// effectWords describes an effect for the log.
func (k *Keeper) effectWords(e tree.Effect, input int) contracts.DecisionEffect {
	out := contracts.DecisionEffect{
		Kind: string(e.Kind), Node: e.Node, Incarnation: e.Incarnation, Runner: e.Runner,
		Input: input, Detail: e.Reason, Correlation: e.Chain, Action: string(e.Action),
	}
	if e.Due > 0 {
		due := e.Due.Time()
		out.Due = &due
	}
	switch e.Kind {
	case tree.NoteRestart:
		out.Kind = "delay"
		_, st, _ := k.tree.Lookup(e.Node)
		out.Detail = "restart " + ordinal(st.Attempts) + " in " + time.Duration(e.Due-k.last).Round(time.Millisecond).String() + ": " + e.Reason
	case tree.DoReport:
		out.Kind = "emit"
	case tree.DoStop:
		if e.Kill {
			out.Detail = "killed: " + e.Reason
		}
	}
	return out
}
