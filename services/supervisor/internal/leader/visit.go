package leader

import (
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Visit is what came of comparing a runner's records with the tree.
type Visit struct {
	// Inputs are what differs, to be decided upon before the runner takes starts.
	Inputs []tree.Input
	// Stale are incarnations that the runner must stop, as others have taken
	// their places.
	Stale []Fence
	// Again says that it is too early to conclude all: the runner takes no
	// starts yet, and must be asked once more.
	Again bool
}

// Gather makes conclusions from what a runner lacks wait until every runner that
// is there has had time to announce itself: what one lacks, another may have.
func (l *Leader) Gather(until tree.Instant) { l.gatherUntil = until }

// Visit compares what a runner has with the tree. Told is the number of the last
// decision that the runner was told of: where it is newer than the log's, the log
// has lost its tail or is another, and decisions are numbered from there on, since
// runners refuse starts by senders that know less.
func (l *Leader) Visit(inv tree.Inventory, told uint64, now tree.Instant) Visit {
	inputs, stale := l.tree.Reconcile(inv)
	early := now < l.gatherUntil
	v := Visit{}
	if told > l.number {
		if early || !l.Settled() {
			v.Again = true // starts that are refused until then are not repeated elsewhere
		} else {
			l.number = told
		}
	}
	for _, in := range inputs {
		if early && in.Kind == tree.Lost {
			v.Again = true
			continue
		}
		v.Inputs = append(v.Inputs, in)
	}
	for _, h := range stale {
		v.Stale = append(v.Stale, Fence{h.Agent, h.Incarnation})
	}
	return v
}

// GatherFor is how long a leader waits for announcements that come at an interval.
func GatherFor(interval time.Duration) time.Duration { return interval + interval/2 }
