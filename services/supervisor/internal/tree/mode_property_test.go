package tree

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// beatWhereListened lets everybody beat who is listened for.
func (w *world) beatWhereListened() {
	for _, id := range sortedKeys(w.tree.nodes) {
		n := w.tree.nodes[id]
		if n.st.Phase != Claiming {
			continue
		}
		switch inc := w.live[id]; {
		case inc > 0 && w.plain[id]:
			w.step(Input{Kind: Beat, Node: id})
		case inc > 0:
			w.step(Input{Kind: Beat, Node: id, Incarnation: inc})
		case w.foreign[id]:
			w.step(Input{Kind: Beat, Node: id})
		}
	}
}

// dropOrders forgets what was ordered of agents that are not enforced any more.
func (w *world) dropOrders() {
	maps.DeleteFunc(w.lanes, func(agent string, _ []Effect) bool {
		n := w.tree.nodes[agent]
		return n != nil && n.st.Phase == Watched
	})
	for id := range w.foreign {
		if w.tree.nodes[id] == nil {
			delete(w.foreign, id) // what is no more in the tree is of no concern
		}
	}
}

// TestModesConverge: whatever modes are set when, nobody is commanded whose
// mode is not enforce, nothing is started that runs elsewhere, and when in the
// end all is enforced and nobody else keeps anything, every permanent child runs.
func TestModesConverge(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		w := &world{
			t: rt, tree: New(Options{}), now: 1e18, lanes: map[string][]Effect{}, live: map[string]uint64{}, seen: map[string]uint64{},
			excused: map[string]bool{}, orders: map[given]CommandKind{}, answered: map[string]bool{}, builds: map[Replaced]string{}, foreign: map[string]bool{}, plain: map[string]bool{}, served: map[string]bool{},
		}
		specs := drawTree(rt)
		for _, s := range specs {
			w.plain[s.ID] = rapid.IntRange(0, 3).Draw(rt, s.ID+" is plain") == 0
			if rapid.IntRange(0, 3).Draw(rt, s.ID+" has a mode") == 0 {
				r := drawRollout(rt)
				s.Mode = &r
			}
		}
		w.step(Input{Kind: Configure, Specs: specs, Boot: true})
		w.step(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2", Capacity: 2}}})
		for range rapid.IntRange(0, 120).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "about modes") == 0 {
				w.disturbModes(specs)
			} else {
				w.disturb(specs)
			}
		}
		w.consistent()
		w.enforceAll(specs)
		w.settle(specs)
	})
}

func drawRollout(t *rapid.T) Rollout {
	r := Rollout{Enforce: rapid.SampledFrom([]int{0, 0, 25, 50, 75, 100}).Draw(t, "enforce"), Otherwise: Shadow}
	if rapid.Bool().Draw(t, "off") {
		r.Otherwise = Off
	}
	return r
}

func (w *world) disturbModes(specs []*Spec) {
	t := w.t
	n := rapid.SampledFrom(specs).Draw(t, "node")
	switch rapid.IntRange(0, 4).Draw(t, "mode event") {
	case 0:
		w.step(Input{Kind: Order, Command: CmdMode, Node: n.ID})
	case 1, 2:
		r := drawRollout(t)
		w.step(Input{Kind: Order, Command: CmdMode, Node: n.ID, Mode: &r})
	case 3:
		// Somebody else starts what is not enforced and does not run.
		if st := w.tree.nodes[n.ID]; n.Agent != nil && st != nil && st.st.Phase == Watched && w.live[n.ID] == 0 {
			w.foreign[n.ID] = true
			w.step(Input{Kind: SeenAlive, Node: n.ID})
		}
	default:
		w.endForeign(n.ID)
	}
}

func (w *world) endForeign(id string) {
	if w.foreign[id] {
		delete(w.foreign, id)
		w.step(Input{Kind: Failed, Node: id, Reason: "silent"})
	}
}

// enforceAll is the end of a rollout, in calm.
func (w *world) enforceAll(specs []*Spec) {
	w.calm = true
	all := RolloutOf(Enforce)
	for _, s := range specs {
		w.endForeign(s.ID)
		n := w.tree.nodes[s.ID]
		if left := n != nil && (n.st.Phase.Apart() || n.st.Claim != "") && !n.st.Claim.ours(); left && w.live[s.ID] > 0 {
			// It was removed and added again, and left running.
			w.inbox = append(w.inbox, Input{Kind: Exited, Node: s.ID, Incarnation: w.live[s.ID]})
			delete(w.live, s.ID)
		}
		w.step(Input{Kind: Order, Command: CmdMode, Node: s.ID, Mode: &all})
		w.step(Input{Kind: Order, Command: CmdResume, Node: s.ID})
	}
}

// TestShare: a larger share only adds agents, the same agent always falls the
// same way, and a share is about as large as it says.
func TestShare(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		id := rapid.StringMatching(`[a-z]{1,8}-[0-9]{1,4}`).Draw(rt, "id")
		low := rapid.IntRange(0, 100).Draw(rt, "low")
		high := rapid.IntRange(low, 100).Draw(rt, "high")
		a, b := Rollout{Enforce: low, Otherwise: Shadow}, Rollout{Enforce: high, Otherwise: Off}
		if a.For(id) == Enforce && b.For(id) != Enforce {
			rt.Fatalf("%s is enforced with %d percent and not with %d", id, low, high)
		}
		if low == 0 && a.For(id) == Enforce || high == 100 && b.For(id) != Enforce {
			rt.Fatalf("%s: none or all", id)
		}
	})
	for _, want := range []int{10, 25, 50, 90} {
		in := 0
		for i := range 10_000 {
			if (Rollout{Enforce: want, Otherwise: Off}).For(Instance("worker", i+1)) == Enforce {
				in++
			}
		}
		if in < want*100-200 || in > want*100+200 {
			t.Errorf("%d percent of 10,000 are %d", want, in)
		}
	}
	// What is documented: SHA-256, first eight bytes, modulo 100.
	for id, want := range map[string]int{"worker-1": 25, "worker-2": 93, "a": 50} {
		if got := Bucket(id); got != want {
			t.Errorf("%s is in bucket %d, want %d", id, got, want)
		}
	}
}
