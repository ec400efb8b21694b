package keeper

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/recording"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// describe writes a decision as the log keeps it: what was decided upon, and what
// each of it led to.
func (k *Keeper) describe(b *leader.Batch) journal.Decision {
	d := journal.Decision{ID: b.ID, Type: contracts.TreeDecided, At: b.At.Time(), Cursor: b.Cursor, Changes: b.Changes}
	if b.Claims() {
		d.Inputs = []contracts.DecisionInput{{Kind: recording.Takeover, At: d.At, Detail: "supervisor " + k.env.Instance + " decides from now on"}}
		return d
	}
	d.Type = ""
	for _, s := range b.Steps {
		k.describeStep(&d, b, s)
	}
	d.Type = cmp.Or(d.Type, contracts.TreeDecided)
	return d
}

func (k *Keeper) describeStep(d *journal.Decision, b *leader.Batch, s leader.Step) {
	if d.Cause == "" && d.Chain == "" {
		d.Cause, d.Chain = s.Event, s.Chain
	}
	d.Inputs = append(d.Inputs, k.recorded(s.Input, d.At))
	for _, e := range b.EffectsOf(s) {
		if d.Cause == "" && e.Event != d.ID && (d.Chain == "" || d.Chain == e.Chain) {
			// A timer or a result continues the story of what it moves.
			d.Cause, d.Chain = e.Event, e.Chain
		}
		if e.Kind == tree.DoReply {
			continue
		}
		out := effectWords(e, len(d.Inputs)-1, b.At)
		if e.Event != s.Event && e.Event != d.ID {
			out.Cause = e.Event
		}
		d.Effects = append(d.Effects, out)
		d.Type = graver(d.Type, e.Kind)
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
	case t == contracts.TreeEscalated:
		return t
	case k == tree.NoteIsolate:
		return contracts.TreeIsolated
	case t == "", t == contracts.TreeProposed:
		return contracts.TreeDecided
	}
	return t
}

// tell logs what operators want to see of a stored decision.
func (k *Keeper) tell(b *leader.Batch, e tree.Effect) {
	say := func(level slog.Level, what string, about ...any) {
		k.env.Log.Log(context.Background(), level, what, append([]any{"tree", k.opt.Tree, "event", e.Event}, about...)...)
	}
	switch e.Kind {
	case tree.NoteRestart:
		say(slog.LevelInfo, "restarting", "agent", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-b.At), "reason", e.Reason)
	case tree.NoteRunning:
		say(slog.LevelInfo, "running", "agent", e.Node, "incarnation", e.Incarnation)
	case tree.NoteFinished:
		say(slog.LevelInfo, "finished", "agent", e.Node, "incarnation", e.Incarnation, "reason", e.Reason)
	case tree.NoteBudget:
		say(slog.LevelWarn, "restart waits for budget", "agent", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-b.At), "reason", e.Reason)
	case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteIgnore:
		say(slog.LevelWarn, "restart limit", "node", e.Node, "policy", string(e.Kind), "reason", e.Reason)
	case tree.NoteIsolate:
		say(slog.LevelWarn, "set apart", "node", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-b.At), "reason", e.Reason)
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

// recorded is what the log keeps of an input: enough to decide on it again.
func (k *Keeper) recorded(a leader.Input, now time.Time) contracts.DecisionInput {
	in, err := recording.Write(a.Input)
	if err != nil {
		// What came as JSON can be written as JSON.
		k.env.Log.Error("input not recorded", "tree", k.opt.Tree, "error", err)
	}
	in.Sequence = a.Seq
	if in.At.IsZero() {
		in.At = now
	}
	return in
}

// effectWords describes an effect for the log.
func effectWords(e tree.Effect, input int, now tree.Instant) contracts.DecisionEffect {
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
		out.Detail = "restart " + ordinal(e.Attempt) + " in " + time.Duration(e.Due-now).Round(time.Millisecond).String() + ": " + e.Reason
	case tree.DoReport:
		out.Kind = "emit"
	case tree.DoStop:
		if e.Kill {
			out.Detail = "killed: " + e.Reason
		}
	}
	return out
}
