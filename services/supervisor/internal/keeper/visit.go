package keeper

import (
	"context"
	"errors"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// visited is what a visit to a runner has found. When it is over, the runner has
// nothing that the tree does not want.
type visited struct {
	runner string
	visit  uint64
	// inputs are what differs, to be decided upon before the runner takes starts.
	inputs []tree.Input
	over   bool
}

// visit compares what a runner that is there again has with the tree. What was
// given up meanwhile may have lived on, and the log may be older than the
// runner's records. Until they agree the runner takes no starts.
func (k *Keeper) visit(ctx context.Context, runner string, visit uint64) {
	k.visits.Go(func() {
		const first, most = 20 * time.Millisecond, time.Second
		for wait := first; ctx.Err() == nil; wait = min(2*wait, most) {
			found, err := k.compare(ctx, runner, visit)
			if found != nil {
				select {
				case k.admit <- *found:
				case <-ctx.Done():
				}
			}
			if err == nil {
				return
			}
			if !errors.Is(err, errAgain) {
				k.env.Log.Debug("runner not visited yet", "tree", k.opt.Tree, "runner", runner, "error", err)
			}
			_ = shell.Pause(ctx, wait)
		}
	})
}

// errAgain says that it is too early to conclude all from what a runner has.
var errAgain = errors.New("other runners may not have been compared yet")

// compare lists what a runner has, and has it stop what is stale. What it
// returns is to be decided upon, even if there is an error. It returns nothing
// when a later visit has taken its place.
func (k *Keeper) compare(ctx context.Context, runner string, visit uint64) (*visited, error) {
	var expected map[string]uint64
	if err := k.ask(ctx, func() { expected = k.tree.Expected(runner) }); err != nil {
		return nil, err
	}
	has, err := k.commands.List(ctx, runner)
	if err != nil {
		return nil, err
	}
	k.setAside(ctx, runner, has.Rejected)
	inv := tree.Inventory{Runner: runner, Expected: expected}
	for _, a := range has.Agents {
		inv.Held = append(inv.Held, fleet.Held(a, k.opt.Tree))
	}
	var found leader.Visit
	current := true
	if asked := k.ask(ctx, func() {
		if current = k.registry.Visiting(runner, visit); current {
			found = k.found(inv, has)
		}
	}); asked != nil {
		return nil, asked
	}
	if !current {
		return nil, nil
	}
	for _, s := range found.Stale {
		k.env.Log.Warn("stopping an agent that is no longer wanted", "tree", k.opt.Tree, "runner", runner, "agent", s.Agent, "incarnation", s.Incarnation)
		if err := k.commands.StopStale(ctx, runner, s); err != nil {
			return nil, err
		}
	}
	out := &visited{runner: runner, visit: visit, inputs: found.Inputs, over: !found.Again}
	if found.Again {
		return out, errAgain
	}
	return out, nil
}

// found is what the leader makes of a runner's records, in the loop.
func (k *Keeper) found(inv tree.Inventory, has fleet.Holdings) leader.Visit {
	v := k.leader.Visit(inv, has.Decision, k.now())
	if v.Leaps {
		k.env.Log.Warn("the log is older than what a runner was told; decisions are numbered from there on, and agents compared",
			"tree", k.opt.Tree, "runner", inv.Runner, "decision", k.leader.Known(), "told", has.Decision)
		k.leader.Leap(has.Decision)
		k.commands.Know(k.leader.Known(), k.journal.Sequence())
	}
	live := map[string]contracts.RunnerAgent{}
	for _, a := range has.Agents {
		live[a.Agent] = a
		// What was reported as lost is so, though the log may not have it yet.
		if k.silence.told[a.Agent] == a.Incarnation && a.State != contracts.AgentExited && k.tree.Has(a.Agent) && k.tree.Mode(a.Agent) == tree.Enforce {
			v.Stale = append(v.Stale, leader.Fence{Agent: a.Agent, Incarnation: a.Incarnation})
		}
	}
	var orphans []contracts.Orphan
	for _, h := range v.Orphans {
		orphans = append(orphans, orphan(inv.Runner, live[h.Agent]))
	}
	k.orphans.found(inv.Runner, orphans, k.env.Log)
	return v
}

// visitOver is what a visit leads to.
func (k *Keeper) visitOver(v visited) []arrival {
	var batch []arrival
	for _, in := range v.inputs {
		k.env.Log.Warn("what a runner has differs from the log", "tree", k.opt.Tree, "event", string(in.Kind), "agent", in.Node,
			"incarnation", in.Incarnation, "runner", v.runner, "reason", in.Reason)
		batch = append(batch, arrival{Input: in})
	}
	if v.over && k.registry.Admit(v.runner, v.visit) {
		batch = append(batch, k.runnersNow())
	}
	return batch
}

// maxSetAside bounds how many entries of one list are reported one by one.
const maxSetAside = 10

// setAside reports entries of a runner's list that are malformed.
func (k *Keeper) setAside(ctx context.Context, runner string, rejected []error) {
	for _, err := range rejected[:min(len(rejected), maxSetAside)] {
		k.opt.Rejects.Reject(ctx, shell.Message{Kind: "runner list", Subject: contracts.RunnerSubject(runner, "list")}, err)
	}
	if more := len(rejected) - maxSetAside; more > 0 {
		k.env.Log.Warn("further entries of a runner's list are malformed", "runner", runner, "entries", more)
	}
}

// strain keeps starts for a while from a runner whose host lacks resources, and
// reports whether that is new.
func (k *Keeper) strain(in tree.Input) bool {
	changed := k.registry.Strain(in.Runner, time.Now())
	if changed {
		k.env.Log.Warn("a runner's host lacks resources; it gets no starts for a while", "tree", k.opt.Tree, "runner", in.Runner,
			"agent", in.Node, "incarnation", in.Incarnation, "reason", in.Reason)
	}
	return changed
}
