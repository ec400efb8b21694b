package keeper

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/recording"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// decide takes a batch of arrivals into account: all are decided together and
// stored before any effect. A batch that changes too much at once is stored in
// several decisions.
func (k *Keeper) decide(ctx context.Context, batch []arrival) (effects []tree.Effect, err error) {
	for len(batch) > 0 {
		n, out, err := k.decideSome(ctx, batch)
		if err != nil {
			return nil, err
		}
		effects = append(effects, out...)
		batch = batch[n:]
	}
	return effects, nil
}

// decideSome decides upon the first arrivals of a batch and tells how many.
func (k *Keeper) decideSome(ctx context.Context, batch []arrival) (n int, effects []tree.Effect, err error) {
	k.turned()
	now := k.now()
	d := journal.Decision{ID: newID(), At: now.Time()}
	k.tree.Deciding(d.ID)
	runners := k.runners
	var oldest tree.Instant
	for n < len(batch) && (n == 0 || k.tree.Dirty() < maxChanged) {
		a := batch[n]
		n++
		k.cursor = max(k.cursor, a.seq)
		if a.Kind == "" {
			continue
		}
		if a.from != nil {
			k.await(a)
		}
		touches, before := k.tree.Touches(), len(effects)
		effects = k.tree.Step(&a.Input, now, effects)
		if k.tree.Touches() == touches && len(effects) == before {
			if a.Kind == tree.Runners {
				k.runners, runners = &a, &a
			}
			continue
		}
		if a.Kind == tree.Runners {
			k.runners = nil
		}
		if a.At > 0 && (oldest == 0 || a.At < oldest) {
			oldest = a.At
		}
		k.describe(&d, a, effects[before:])
	}
	k.opt.Metrics.inputs(n)
	changes := k.tree.Changes(nil)
	if len(changes) == 0 && runners != nil && k.runners == nil {
		k.runners = runners // nothing is stored that would tell of them
	}
	k.watch(changes)
	if len(changes) > 0 {
		d.Cursor, d.Changes = k.cursor, changes
		if err := k.append(ctx, d); err != nil {
			return n, nil, err
		}
	}
	k.letGo(changes)
	for _, a := range batch[:n] {
		if a.from != nil {
			a.from.decided.Store(true)
		}
		if a.Kind == tree.Lost {
			k.commands.Forget(a.Node, a.Incarnation)
		}
	}
	// What others wait for comes first.
	for _, e := range effects {
		k.perform(e)
	}
	// Commands leave now: on one processor, they would wait until this is done.
	runtime.Gosched()
	for _, e := range effects {
		k.tell(e)
	}
	if len(changes) > 0 {
		k.opt.Metrics.decided(k, d, effects, changes, oldest)
	}
	k.snapshotIfDue(changes)
	return n, effects, nil
}

// append stores a decision; from then on it is known to whoever carries out what
// was decided.
func (k *Keeper) append(ctx context.Context, d journal.Decision) error {
	if err := k.journal.Append(ctx, d); err != nil {
		return err
	}
	k.commands.Know(k.journal.Number(), k.journal.Sequence())
	return nil
}

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

// perform has an effect carried out.
func (k *Keeper) perform(e tree.Effect) {
	switch e.Kind {
	case tree.DoReply:
		k.reply(e)
	case tree.DoStart, tree.DoStop, tree.DoReport:
		spec, st, ok := k.tree.Lookup(e.Node)
		if !ok || spec.Agent == nil || st.Phase.Apart() {
			return // or it was let go by what was decided together with it
		}
		k.commands.Do(fleet.Command{Effect: e, Spec: spec, Decision: st.Decision})
	}
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
