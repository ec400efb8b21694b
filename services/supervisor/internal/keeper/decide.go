package keeper

import (
	"context"
	"runtime"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// maxTurns bounds how many decisions are made in a row, before the loop looks at
// what else there is.
const maxTurns = 16

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
	// stored is told what became of it, where it is stored beside the loop.
	stored chan error
}

// decide takes arrivals into account: all are decided together and stored before
// any effect. What changes too much at once is stored in several decisions; in
// a storm each is worked out while the one before is being stored. At the end
// all are stored.
func (k *Keeper) decide(ctx context.Context, batch []arrival) (effects []tree.Effect, err error) {
	var before *turn
	for turns := 1; ; turns++ {
		t := k.workOut(batch)
		effects = append(effects, t.effects...)
		if before != nil {
			if err := k.conclude(before, <-before.stored); err != nil {
				return nil, err
			}
		}
		if batch = batch[len(t.arrivals):]; len(batch) == 0 && turns < maxTurns {
			batch = k.batch(ctx, nil)
		}
		if len(batch) == 0 {
			return effects, k.conclude(t, k.store(ctx, t.decision))
		}
		before, t.stored = t, make(chan error, 1)
		go func() { t.stored <- k.store(ctx, t.decision) }()
	}
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
	if len(t.decision.Changes) > 0 {
		k.unstored++
	} else if runners != nil && k.runners == nil {
		k.runners = runners // nothing is stored that would tell of them
	}
	k.watch(t.decision.Changes)
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
	return k.append(ctx, d)
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

// conclude has carried out what is stored.
func (k *Keeper) conclude(t *turn, err error) error {
	if err != nil {
		return err
	}
	changes := t.decision.Changes
	if len(changes) > 0 {
		k.unstored--
	}
	k.letGo(changes)
	for _, a := range t.arrivals {
		if a.from != nil {
			a.from.decided.Store(true)
		}
		if a.Kind == tree.Lost {
			k.commands.Forget(a.Node, a.Incarnation)
		}
	}
	// What others wait for comes first.
	for _, cmd := range t.commands {
		k.commands.Do(cmd)
	}
	for _, e := range t.effects {
		if e.Kind == tree.DoReply {
			k.reply(e)
		}
	}
	// Commands leave now: on one processor, they would wait until this is done.
	runtime.Gosched()
	for _, e := range t.effects {
		k.tell(e)
	}
	if len(changes) > 0 {
		k.opt.Metrics.decided(k, t.decision, t.effects, changes, t.oldest)
	}
	k.snapshotIfDue(changes)
	return nil
}
