package leader

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// gathering is what a leader knows of the runners that it has not compared with
// its tree yet. The log may be older than what runners did, or be another: what
// one runner lacks, another may have. So none takes starts before each that is
// there has been visited.
type gathering struct {
	// until is when every runner that is there has announced itself, and latest
	// when those that were not visited by then are waited for no longer.
	until, latest tree.Instant
	// unseen are runners that were heard and not visited yet, met all that were
	// heard.
	unseen, met map[string]bool
}

// Gather begins the time in which runners announce themselves, as they do at an
// interval. Those that did and cannot be visited are waited for, but not forever:
// one that announces itself and never answers must not keep the others from work.
func (l *Leader) Gather(now tree.Instant, interval time.Duration) {
	l.gathering.until, l.gathering.latest = now.Add(interval+interval/2), now.Add(gatherMost)
}

// gatherMost is how long runners that cannot be visited are waited for.
const gatherMost = 30 * time.Second

// Gathering reports whether there may be runners that have not been visited.
func (l *Leader) Gathering(now tree.Instant) bool {
	return now < l.gathering.until || now < l.gathering.latest && len(l.gathering.unseen) > 0
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
	g.met[runner], g.unseen[runner] = true, true
}

// Part notes that a runner has gone.
func (l *Leader) Part(runner string) { delete(l.gathering.unseen, runner) }

// Visit is what came of comparing a runner's records with the tree.
type Visit struct {
	// Inputs are what differs, to be decided upon before the runner takes starts.
	Inputs []tree.Input
	// Stale are incarnations that the runner must stop: others have taken their
	// places, or the tree no longer has their agents.
	Stale []Fence
	// Orphans are live agents that are not this tree's.
	Orphans []tree.Held
	// Leaps is set when the log has lost its tail, or is another: decisions are
	// numbered on from what the runner was told, see [Leader.Leap].
	Leaps bool
	// Again says that it is too early to conclude all: the runner takes no
	// starts yet, and must be asked once more.
	Again bool
}

// Visit compares what a runner has with the tree. Told is the number of the last
// decision that the runner was told of.
func (l *Leader) Visit(inv tree.Inventory, told uint64, now tree.Instant) Visit {
	delete(l.gathering.unseen, inv.Runner)
	// Agents that name their runner are on no other.
	early := l.Gathering(now) && l.tree.Roams()
	v := Visit{Again: early}
	if told > l.Known() {
		// Starts that are refused until then are not repeated elsewhere.
		v.Again = v.Again || !l.Settled()
		v.Leaps = !v.Again
	}
	inputs, stale := l.tree.Reconcile(inv)
	for _, in := range inputs {
		if !early || in.Kind != tree.Lost {
			v.Inputs = append(v.Inputs, in)
		}
	}
	for _, h := range stale {
		v.Stale = append(v.Stale, Fence{h.Agent, h.Incarnation})
	}
	l.strangers(inv, &v)
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
		default:
			v.Orphans = append(v.Orphans, h)
		}
	}
}
