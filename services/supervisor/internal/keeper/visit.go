package keeper

import (
	"context"
	"errors"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
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
			if !errors.Is(err, errGathering) {
				k.env.Log.Debug("runner not visited yet", "tree", k.opt.Tree, "runner", runner, "error", err)
			}
			_ = shell.Pause(ctx, wait)
		}
	})
}

// errGathering delays a conclusion until other runners had time to announce
// themselves: what one runner lacks, another may have.
var errGathering = errors.New("other runners may not have been heard yet")

// gatherFor is how long a new leader waits for announcements before it concludes
// that an agent is nowhere.
const gatherFor = contracts.RunnerAnnounceInterval + 500*time.Millisecond

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
	found := &visited{runner: runner, visit: visit, over: true}
	var stale []fleet.Stale
	current := true
	if asked := k.ask(ctx, func() {
		if current = k.registry.Visiting(runner, visit); !current {
			return
		}
		if k.fresh && k.gathering(time.Now()) && k.tree.Roams() {
			err = errGathering // what is to start anywhere may run on another runner
		}
		if has.Decision > k.leader.Known() {
			err = k.leap(runner, has.Decision)
		}
		inv := tree.Inventory{Runner: runner, Expected: expected}
		for _, a := range has.Agents {
			inv.Held = append(inv.Held, fleet.Held(a))
		}
		var held []tree.Held
		found.inputs, held = k.tree.Reconcile(inv)
		for _, h := range held {
			stale = append(stale, fleet.Stale{Agent: h.Agent, Incarnation: h.Incarnation})
		}
		stale = append(stale, k.leftovers(runner, has.Agents)...)
	}); asked != nil {
		return nil, asked
	}
	if !current {
		return nil, nil
	}
	for _, s := range stale {
		k.env.Log.Warn("stopping an agent that is no longer wanted", "tree", k.opt.Tree, "runner", runner, "agent", s.Agent, "incarnation", s.Incarnation)
		if err := k.commands.StopStale(ctx, runner, s); err != nil {
			return nil, err
		}
	}
	return k.conclusive(found, err)
}

// conclusive leaves out losses that it is too early to conclude.
func (k *Keeper) conclusive(found *visited, err error) (*visited, error) {
	if time.Now().Before(k.gatherUntil) {
		kept := found.inputs[:0]
		for _, in := range found.inputs {
			if in.Kind == tree.Lost {
				err = errGathering
				continue
			}
			kept = append(kept, in)
		}
		found.inputs = kept
	}
	found.over = err == nil
	return found, err
}

// gathering reports whether runners may not have been heard yet.
func (k *Keeper) gathering(now time.Time) bool { return now.Before(k.gatherUntil) }

// leap makes the next decision newer than one that a runner was told of and the
// log does not have: the log has lost its tail, or is another. Runners refuse
// starts by senders that know less.
func (k *Keeper) leap(runner string, told uint64) error {
	if k.gathering(time.Now()) {
		return errGathering // starts that are refused until then are not repeated elsewhere
	}
	k.env.Log.Warn("the log is older than what a runner was told; decisions are numbered from there on, and agents compared",
		"tree", k.opt.Tree, "runner", runner, "decision", k.leader.Known(), "told", told)
	k.leader.Leap(told)
	k.commands.Know(k.leader.Known(), k.journal.Sequence())
	return nil
}

// leftovers are live agents that are to be stopped though no newer incarnation
// has taken their place: those that were reported as lost, though the log may not
// have it yet, and those of this tree that are not in it. Other agents that are
// not in the tree are orphans.
func (k *Keeper) leftovers(runner string, agents []contracts.RunnerAgent) []fleet.Stale {
	var stale []fleet.Stale
	var orphans []contracts.Orphan
	for _, a := range agents {
		if a.State == contracts.AgentExited {
			continue
		}
		s := fleet.Stale{Agent: a.Agent, Incarnation: a.Incarnation}
		switch {
		case k.tree.Has(a.Agent):
			if k.silence.told[a.Agent] == a.Incarnation && k.tree.Mode(a.Agent) == tree.Enforce {
				stale = append(stale, s)
			}
		case a.Tree == k.opt.Tree && k.tree.Mode(k.tree.Root()) == tree.Enforce, k.tree.Removed(a.Agent, a.Incarnation):
			stale = append(stale, s)
		default:
			orphans = append(orphans, orphan(runner, a))
		}
	}
	k.orphans.found(runner, orphans, k.env.Log)
	return stale
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
