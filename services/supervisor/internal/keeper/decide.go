package keeper

import (
	"context"
	"runtime"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// submit hands inputs to the leader.
func (k *Keeper) submit(batch ...arrival) {
	for _, a := range batch {
		if a.from != nil {
			k.await(a)
		}
		if a.Kind == tree.Declined && k.strain(a.Input) {
			k.leader.Submit(leader.Input{Input: k.runnersNow().Input}, k.now())
		}
		k.leader.Submit(leader.Input{Input: a.Input, Seq: a.seq, Seen: a.seen}, k.now())
	}
}

// decide has everything decided that is ready to be, and carried out. It returns
// what was concluded.
func (k *Keeper) decide(ctx context.Context) (effects []tree.Effect, err error) {
	for k.leader.Ready() {
		k.turned()
		b := k.leader.Decide(k.now(), newID())
		commands := commandsOf(b.Orders)
		prepared := k.commands.Prepare(commands)
		err := k.store(ctx, b)
		prepared()
		if err != nil {
			return nil, err
		}
		k.conclude(ctx, b, commands)
		effects = append(effects, b.Effects...)
	}
	return effects, nil
}

// store stores a decision that must be; from then on it is known to those who
// carry out what was decided.
func (k *Keeper) store(ctx context.Context, b *leader.Batch) error {
	if !b.MustStore() {
		return nil
	}
	d, err := decisionlog.Of(k.opt.Tree, k.env.Instance, b)
	if err != nil {
		// What came as JSON can be written as JSON.
		k.env.Log.Error("input not recorded", "tree", k.opt.Tree, "error", err)
	}
	if err := k.journal.Append(ctx, d); err != nil {
		return err
	}
	k.commands.Know(k.leader.Term(), k.journal.Sequence())
	return nil
}

// conclude has what is stored carried out, and reports it.
func (k *Keeper) conclude(ctx context.Context, b *leader.Batch, commands []fleet.Command) {
	out := k.leader.Advance(b)
	for _, s := range out.Settled {
		k.commands.Forget(s.Agent, s.Incarnation)
	}
	for _, r := range out.Revisit {
		if visit, there := k.registry.Visit(r); there {
			k.visit(ctx, r, visit, true)
		}
	}
	k.environs.Follow(b.Changes)
	k.forgetRemoved(b.Changes)
	// An agent that comes up is heard from before its start is ordered; to
	// subscribe earlier would keep the decision from leaving.
	k.pulse.follow(out)
	// What others wait for comes first.
	k.carryOut(commands)
	k.answer(b)
	// Commands leave now: on one processor, they would wait until this is done.
	runtime.Gosched()
	for _, e := range out.Effects {
		k.tell(b, e)
	}
	k.opt.Metrics.inputs(len(b.Consumed))
	if b.MustStore() && !b.Claims() {
		k.opt.Metrics.decided(k, b)
	}
	k.lacking(b)
}

// carryOut hands on the orders whose decisions are stored. Those that were
// prepared come first, in the order in which they were.
func (k *Keeper) carryOut(prepared []fleet.Command) {
	next := 0
	for _, o := range k.leader.Due() {
		for next < len(prepared) && !same(prepared[next].Order, o) {
			next++ // it is held back
		}
		if next < len(prepared) {
			k.commands.Do(prepared[next])
			next++
		} else {
			k.commands.Do(fleet.Command{Order: o})
		}
	}
}

func same(a, b leader.Order) bool {
	return a.Kind == b.Kind && a.Node == b.Node && a.Incarnation == b.Incarnation && a.Runner == b.Runner
}

func commandsOf(orders []leader.Order) []fleet.Command {
	if len(orders) == 0 {
		return nil
	}
	out := make([]fleet.Command, 0, len(orders))
	for _, o := range orders {
		out = append(out, fleet.Command{Order: o})
	}
	return out
}
