package keeper

import (
	"context"
	"runtime"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// turn is one decision on its way from the tree into the log.
type turn struct {
	// arrivals are what was decided upon.
	arrivals []arrival
	decision journal.Decision
	effects  []tree.Effect
	// commands are those of the effects that runners or the log must hear of.
	commands []fleet.Command
	// oldest is when the first of the arrivals happened.
	oldest tree.Instant
}

// decide takes a batch of arrivals into account: all are decided together and
// stored before any effect. A batch that changes too much at once is stored in
// several decisions.
func (k *Keeper) decide(ctx context.Context, batch []arrival) (effects []tree.Effect, err error) {
	for len(batch) > 0 {
		t := k.workOut(batch)
		prepared := k.commands.Prepare(t.commands)
		err := k.store(ctx, t.decision)
		prepared()
		if err != nil {
			return nil, err
		}
		k.conclude(t)
		effects = append(effects, t.effects...)
		batch = batch[len(t.arrivals):]
	}
	return effects, nil
}

// workOut decides upon the first of some arrivals: as many as one decision
// takes.
func (k *Keeper) workOut(batch []arrival) *turn {
	k.turned()
	now := k.now()
	t := &turn{decision: journal.Decision{ID: newID(), At: now.Time()}}
	k.tree.Deciding(t.decision.ID)
	runners, n := k.runners, 0
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
		touches, before := k.tree.Touches(), len(t.effects)
		t.effects = k.tree.Step(&a.Input, now, t.effects)
		if k.tree.Touches() == touches && len(t.effects) == before {
			if a.Kind == tree.Runners {
				k.runners, runners = &a, &a
			}
			continue
		}
		if a.Kind == tree.Runners {
			k.runners = nil
		}
		if a.At > 0 && (t.oldest == 0 || a.At < t.oldest) {
			t.oldest = a.At
		}
		k.describe(&t.decision, a, t.effects[before:])
	}
	t.arrivals = batch[:n]
	k.opt.Metrics.inputs(n)
	t.decision.Cursor, t.decision.Changes = k.cursor, k.tree.Changes(nil)
	if len(t.decision.Changes) == 0 && runners != nil && k.runners == nil {
		k.runners = runners // nothing is stored that would tell of them
	}
	for _, e := range t.effects {
		if cmd, ok := k.command(e); ok {
			t.commands = append(t.commands, cmd)
		}
	}
	return t
}

// store stores a decision that changes anything.
func (k *Keeper) store(ctx context.Context, d journal.Decision) error {
	if len(d.Changes) == 0 {
		return nil
	}
	k.ahead = true
	if err := k.append(ctx, d); err != nil {
		return err
	}
	k.ahead = false
	return nil
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

// conclude has what is stored carried out, and tells of it.
func (k *Keeper) conclude(t *turn) {
	changes := t.decision.Changes
	k.letGo(changes)
	k.environs.Follow(changes)
	// Whoever comes up is heard from before its start is ordered; to subscribe
	// earlier would keep the decision from leaving.
	k.watch(changes)
	for _, a := range t.arrivals {
		if a.Kind == tree.Lost {
			k.commands.Forget(a.Node, a.Incarnation)
		}
	}
	// What others wait for comes first.
	for _, cmd := range t.commands {
		k.commands.Do(cmd)
	}
	k.answer(t)
	// Commands leave now: on one processor, they would wait until this is done.
	runtime.Gosched()
	for _, e := range t.effects {
		k.tell(e)
	}
	if len(changes) > 0 {
		k.opt.Metrics.decided(k, t.decision, t.effects, changes, t.oldest)
	}
	k.snapshotIfDue(changes)
}
