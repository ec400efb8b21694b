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
	// compared says that these are all, over that the runner takes starts.
	compared, over bool
	// ended is a stale incarnation that the runner has ended.
	ended leader.Fence
}

// visit compares what a runner that is there again has with the tree. What was
// given up meanwhile may have lived on, and the log may be older than the
// runner's records. Until they agree the runner takes no starts. While the same
// visit is under way no other begins; it is made once more when it is over if the
// runner must be asked anew, since what it has may have been read before.
func (k *Keeper) visit(ctx context.Context, runner string, visit uint64, anew bool) {
	ctx, c := k.visits.begin(ctx, runner, visit, anew, time.Now())
	if c == nil {
		return
	}
	k.visits.Go(func() {
		for more := true; more; more = k.visits.over(c, time.Now()) {
			k.untilCompared(ctx, c)
		}
	})
}

// untilCompared repeats a comparison until nothing is left to do, or ctx ends.
func (k *Keeper) untilCompared(ctx context.Context, c *comparison) {
	const first, most, mostForStops = 20 * time.Millisecond, time.Second, 30 * time.Second
	for wait := first; ctx.Err() == nil; {
		err := k.compare(ctx, c)
		if err == nil {
			return
		}
		k.visits.note(c, err)
		k.env.Log.Debug("runner not compared yet", "tree", k.opt.Tree, "runner", c.runner, "error", err)
		_ = shell.Pause(ctx, wait)
		limit := most
		if errors.Is(err, errNotStopped) {
			limit = mostForStops // it takes starts meanwhile
		}
		wait = min(2*wait, limit)
	}
}

var (
	// errAgain says that it is too early to conclude all from what a runner has.
	errAgain = errors.New("other runners may not have been compared yet")
	// errSuperseded says that a later visit has taken the place of this one, or
	// that the runner has gone.
	errSuperseded = errors.New("the runner has gone or come back since")
	// errNotStopped says that a runner could not stop an agent that is no longer
	// wanted.
	errNotStopped = errors.New("not stopped yet")
)

// listedFor is how long conclusions may be drawn from a list that was read.
const listedFor = time.Minute

// compare lists what a runner has, has what differs decided, and has the runner
// stop what is stale. Agents that it cannot stop do not hold up its starts for
// long: the runner refuses to start an agent whose former incarnation lives.
func (k *Keeper) compare(ctx context.Context, c *comparison) error {
	k.visits.enter(c, contracts.ComparisonReading, time.Now())
	var expected map[string]uint64
	if err := k.ask(ctx, func() { expected = k.tree.Expected(c.runner) }); err != nil {
		return err
	}
	has, err := k.commands.List(ctx, c.runner, func(read int, problem error) { k.visits.progress(c, read, problem) })
	if err != nil {
		return err
	}
	k.setAside(ctx, c.runner, has.Rejected)
	k.visits.enter(c, contracts.ComparisonWaiting, time.Now())
	stops := newStops(k, c.runner)
	defer stops.wait() // ended with ctx
	const first, most = 20 * time.Millisecond, time.Second
	admitted := false
	for listed, wait := time.Now(), first; ; wait = min(2*wait, most) {
		found, err := k.concludeVisit(ctx, c, expected, has, stops)
		switch {
		case errors.Is(err, errSuperseded):
			return nil
		case err == nil:
			stops.begin(ctx, found.Stale)
			if !admitted {
				admitted = true
				stops.within(ctx, stopsFirst)
				k.admitVisited(ctx, visited{runner: c.runner, visit: c.visit, over: true})
			}
			if !found.Again {
				k.visits.enter(c, contracts.ComparisonStopping, time.Now())
				return stops.wait()
			}
			err = errAgain
		}
		k.visits.note(c, err)
		if shell.Pause(ctx, wait) != nil || time.Since(listed) > listedFor {
			return err
		}
	}
}

// stopsFirst is how long a runner takes no starts while it ends agents that are no
// longer wanted: their room and memory may be needed.
const stopsFirst = 5 * time.Second

// concludeVisit has what differs decided.
func (k *Keeper) concludeVisit(ctx context.Context, c *comparison, expected map[string]uint64, has fleet.Holdings, ended *stops) (leader.Visit, error) {
	inv := tree.Inventory{Runner: c.runner, Expected: expected, Held: make([]tree.Held, 0, len(has.Agents))}
	for _, a := range has.Agents {
		inv.Held = append(inv.Held, fleet.Held(a, k.opt.Tree))
	}
	var found leader.Visit
	current := true
	if err := k.ask(ctx, func() {
		if current = k.registry.Visiting(c.runner, c.visit); current {
			ended.correct(inv.Held)
			found = k.found(ctx, inv, has)
		}
	}); err != nil {
		return found, err
	}
	if !current {
		return found, errSuperseded
	}
	k.admitVisited(ctx, visited{runner: c.runner, visit: c.visit, inputs: found.Inputs, compared: true})
	return found, ctx.Err()
}

func (k *Keeper) admitVisited(ctx context.Context, v visited) {
	select {
	case k.admit <- v:
	case <-ctx.Done():
	}
}

// found is what the leader makes of a runner's records, in the loop.
func (k *Keeper) found(ctx context.Context, inv tree.Inventory, has fleet.Holdings) leader.Visit {
	v := k.leader.Visit(inv, has.Term, k.now())
	if v.Outbid {
		k.env.Log.Warn("a runner was told of a later term than this supervisor's; the log has lost its tail, or a clock has been set back. Runners are told of a higher term and compared again",
			"tree", k.opt.Tree, "runner", inv.Runner, "term", k.leader.Term(), "told", has.Term)
		k.commands.Know(k.leader.Term(), k.journal.Sequence())
		k.visitAll(ctx) // so that each refuses what was decided before
	}
	live := map[string]contracts.RunnerAgent{}
	for _, a := range has.Agents {
		live[a.Agent] = a
		// What was reported as lost is so, though the log may not have it yet.
		if k.leader.Lost(a.Agent, a.Incarnation) && a.State != contracts.AgentExited && k.tree.Has(a.Agent) && k.tree.Mode(a.Agent) == tree.Enforce {
			v.Stale = append(v.Stale, leader.Fence{Agent: a.Agent, Incarnation: a.Incarnation})
		}
	}
	k.commands.ForgetOutput(inv.Runner, k.opt.Tree, k.leftovers(has.Agents))
	var orphans []contracts.Orphan
	for _, h := range v.Orphans {
		a := live[h.Agent]
		orphans = append(orphans, contracts.Orphan{Agent: a.Agent, Incarnation: a.Incarnation, Runner: inv.Runner, PID: a.PID, Tree: a.Tree, Started: a.Started})
	}
	k.orphans.found(inv.Runner, orphans, k.env.Log)
	return v
}

// visitOver is what a visit leads to.
func (k *Keeper) visitOver(v visited) []arrival {
	var batch []arrival
	k.leader.Ended(v.runner, v.ended)
	for _, in := range v.inputs {
		k.env.Log.Warn("what a runner has differs from the log", "tree", k.opt.Tree, "event", string(in.Kind), "agent", in.Node,
			"incarnation", in.Incarnation, "runner", v.runner, "reason", in.Reason)
		batch = append(batch, arrival{Input: in})
	}
	if v.compared && k.registry.Visiting(v.runner, v.visit) {
		batch = append(batch, arrival{seen: v.runner})
	}
	if v.over && k.registry.Admit(v.runner, v.visit) {
		batch = append(batch, k.runnersNow())
	}
	return batch
}

// warnOfVisits warns of runners that are not compared in time.
func (k *Keeper) warnOfVisits(now time.Time) {
	for runner, c := range k.visits.overdue(now) {
		what := "a runner that was compared with the tree before is not compared again yet"
		if k.registry.Holds(runner) {
			what = "a runner takes no starts, since it is not compared with the tree yet; look at its log and at its host"
		}
		k.env.Log.Warn(what, "tree", k.opt.Tree, "runner", runner, "since", c.Since, "stage", string(c.Stage), "entries", c.Entries, "error", c.Problem)
	}
}

// runnerViews are the runners as operators see them.
func (k *Keeper) runnerViews() []contracts.RunnerView {
	views, compared := k.registry.Views(), k.visits.views(time.Now())
	for i := range views {
		if c, ok := compared[views[i].Runner]; ok {
			views[i].Comparison = &c
		}
	}
	return views
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
