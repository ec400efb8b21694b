package leader

import (
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// lingering are live copies of agents that runners were told to end, since the tree
// no longer wants them. Whoever bears their name starts on no other runner before
// they are known to have ended: after the log was lost, an agent may be removed and
// added again while the runners that have it are still being found.
type lingering struct {
	on map[string]map[string]uint64 // incarnations, by runner and agent
	// listed are those of each runner's last list.
	listed map[string][]Fence
}

// linger notes what a runner is told to end.
func (l *Leader) linger(runner string, stale []Fence) {
	g := &l.lingering
	if g.on == nil {
		g.on, g.listed = map[string]map[string]uint64{}, map[string][]Fence{}
	}
	g.listed[runner] = stale
	for _, f := range stale {
		if g.on[runner] == nil {
			g.on[runner] = map[string]uint64{}
		}
		if g.on[runner][f.Agent] < f.Incarnation {
			g.on[runner][f.Agent] = f.Incarnation
			l.news = true
		}
	}
}

// missed notes that a copy was found of an agent that was removed meanwhile. Its runner
// is told to end it when it is visited once more.
func (l *Leader) missed(b *Batch, in *Input) {
	l.linger(in.Runner, append(slices.Clone(l.lingering.listed[in.Runner]), Fence{in.Node, in.Incarnation}))
	b.revisit = append(b.revisit, in.Runner)
}

// seen forgets what is not in a runner's last list.
func (g *lingering) seen(runner string) {
	maps.DeleteFunc(g.on[runner], func(agent string, n uint64) bool {
		return !slices.Contains(g.listed[runner], Fence{agent, n})
	})
}

// Ended notes that a runner has ended a stale incarnation and everything older.
func (l *Leader) Ended(runner string, f Fence) {
	g := &l.lingering
	if n, ok := g.on[runner][f.Agent]; ok && n <= f.Incarnation {
		delete(g.on[runner], f.Agent)
		l.news = true
	}
}

// Gone notes that a runner's host is taken for gone with all that ran there.
func (l *Leader) Gone(runner string) {
	g := &l.lingering
	l.news = l.news || len(g.on[runner]) > 0
	delete(g.on, runner)
}

// Lingering names the agents of which a runner was told to end a copy.
func (l *Leader) Lingering(runner string) []string {
	return slices.Sorted(maps.Keys(l.lingering.on[runner]))
}

// list is what the tree is told.
func (g *lingering) list() (out []tree.Lingering) {
	for _, runner := range slices.Sorted(maps.Keys(g.on)) {
		for _, agent := range slices.Sorted(maps.Keys(g.on[runner])) {
			out = append(out, tree.Lingering{Agent: agent, Runner: runner})
		}
	}
	return out
}
