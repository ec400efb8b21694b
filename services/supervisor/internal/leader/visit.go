package leader

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// gathering is what a leader knows of the runners that it has not compared with
// its tree yet. The log may be older than what runners did, or be another: what
// one runner lacks, another may have. So agents that may run on any are not started
// before each that is there has been visited.
type gathering struct {
	// until is when every runner that is there has announced itself, and latest
	// when those that were not visited by then are waited for no longer.
	until, latest tree.Instant
	// unseen are runners that were heard and not visited yet, met all that were
	// heard.
	unseen, met map[string]bool
	// told is what the tree was told last: whether there may be such runners.
	told bool
}

// gather begins the time in which runners announce themselves, as they do at an
// interval. Those that did and cannot be visited are waited for, but not forever:
// one that announces itself and never answers must not keep the others from work.
func (l *Leader) gather(now tree.Instant, interval time.Duration) {
	if interval == 0 {
		return
	}
	l.news = true
	l.gathering.until, l.gathering.latest = now.Add(interval+interval/2), now.Add(gatherMost)
}

// gatherMost is how long runners that cannot be visited are waited for.
const gatherMost = 30 * time.Second

// Gathering reports whether there may be runners that have not been visited.
func (l *Leader) Gathering(now tree.Instant) bool {
	return now < l.gathering.until || now < l.gathering.latest && len(l.gathering.unseen) > 0
}

// Next is when time alone makes something due, or false.
func (l *Leader) Next() (at tree.Instant, ok bool) {
	at, ok = l.tree.Next()
	if g := &l.gathering; g.told {
		over := g.until
		if len(g.unseen) > 0 {
			over = g.latest
		}
		if !ok || over < at {
			return over, true
		}
	}
	return at, ok
}

// held makes news of the runners tell all that holds starts back.
func (l *Leader) held(in *tree.Input, now tree.Instant) {
	l.gathering.told = l.Gathering(now)
	in.Gathering, in.Lingering, l.news = l.gathering.told, l.lingering.list(), false
}

// tellHeld lets the tree know what holds starts back if that has changed, once it has
// decided on all else that is known.
func (l *Leader) tellHeld(b *Batch) {
	if l.news || l.gathering.told && !l.Gathering(b.At) {
		l.step(b, &Input{Input: tree.Input{Kind: tree.Runners, Runners: l.tree.Available(), Reason: "what holds starts back has changed"}})
	}
}

// Meet notes that a runner is there; it is to be visited.
func (l *Leader) Meet(runner string) {
	g := &l.gathering
	if g.met[runner] {
		return
	}
	if g.met == nil {
		g.met, g.unseen = map[string]bool{}, map[string]bool{}
	}
	g.met[runner], g.unseen[runner], l.news = true, true, true
}

// seen notes that a runner has been visited: all that it has is known to the tree, and
// what it has not listed has ended. What it was ordered and has not answered is ordered
// again when that is stored.
func (l *Leader) seen(b *Batch, runner string) {
	if runner == "" {
		return
	}
	delete(l.gathering.unseen, runner)
	l.lingering.seen(runner)
	b.seen = append(b.seen, runner)
	l.news = true
}

// Part notes that a runner has gone.
func (l *Leader) Part(runner string) {
	if l.gathering.unseen[runner] {
		delete(l.gathering.unseen, runner)
		l.news = true
	}
}

// Visit is what came of comparing a runner's records with the tree.
type Visit struct {
	// Inputs are what differs, to be decided upon before the runner takes starts.
	Inputs []tree.Input
	// Stale are incarnations that the runner must stop: others have taken their
	// places, or the tree no longer has their agents.
	Stale []Fence
	// Orphans are live agents that are not this tree's.
	Orphans []tree.Held
	// Outbid is set when the runner had been told of a higher term than this
	// leader's, which is higher now: all runners must be told.
	Outbid bool
	// Again says that it is too early to conclude all: the list must be compared
	// once more.
	Again bool
}

// Visit compares what a runner has with the tree. Told is the highest term that the
// runner was told. What follows is to be submitted, and after that, that the runner
// was Seen.
func (l *Leader) Visit(inv tree.Inventory, told uint64, now tree.Instant) Visit {
	var v Visit
	if told > l.term {
		l.term, v.Outbid = told+1, true
	}
	inputs, stale := l.tree.Reconcile(inv)
	early := l.Gathering(now)
	for _, in := range inputs {
		if early && in.Kind == tree.Lost && l.tree.Roams(in.Node) {
			v.Again = true // another may have it
			continue
		}
		v.Inputs = append(v.Inputs, in)
	}
	for _, h := range stale {
		v.Stale = append(v.Stale, Fence{h.Agent, h.Incarnation})
	}
	l.strangers(inv, &v)
	l.linger(inv.Runner, v.Stale)
	return v
}

// strangers sorts the live agents that the tree does not have: those of this tree
// are stopped, others are orphans.
func (l *Leader) strangers(inv tree.Inventory, v *Visit) {
	enforced := l.tree.Mode(l.tree.Root()) == tree.Enforce
	for _, h := range inv.Held {
		switch {
		case !h.State.Live() || l.tree.Has(h.Agent):
		case h.Ours && enforced, l.tree.Removed(h.Agent, h.Incarnation):
			v.Stale = append(v.Stale, Fence{h.Agent, h.Incarnation})
			if !l.tree.Removed(h.Agent, h.Incarnation) {
				v.Inputs = append(v.Inputs, tree.Input{
					Kind: tree.Raised, Node: h.Agent, Incarnation: h.Incarnation, Runner: inv.Runner,
					Reason: "runner " + inv.Runner + " has " + h.Agent + ", which is not in the tree",
				})
			}
		default:
			v.Orphans = append(v.Orphans, h)
		}
	}
}
