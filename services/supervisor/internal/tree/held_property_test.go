package tree

import (
	"cmp"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// TestAStopUndoesAsLittleAsAKill stops the service at any moment and starts it again.
// Every node that would have stayed down, had the service been killed, stays down, as
// long, and with the same failures.
func TestAStopUndoesAsLittleAsAKill(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, tree: New(Options{}), now: 1e18, lanes: map[string][]Effect{}, live: map[string]uint64{}, seen: map[string]uint64{}, excused: map[string]bool{}, orders: map[given]CommandKind{}, answered: map[string]bool{}, builds: map[Replaced]string{}, served: map[string]bool{}}
		specs := drawTree(rt)
		w.step(Input{Kind: Configure, Specs: specs, Boot: true})
		w.step(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2", Capacity: 2}}})
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			w.disturb(specs)
		}
		before, killed, closed := w.again(), w.again(), w.again()
		for _, n := range before.nodes {
			if n.st.Phase == Ended && !n.parent.suspended() || n.endsByItself() && n.op().Outcome != Cooling && n.op().Outcome != Terminated {
				return // what follows comes at once, which may be the end of others
			}
		}
		w.boots(killed)
		w.closes(closed)
		closed = reload(rt, closed)
		w.boots(closed)
		for id, was := range before.nodes {
			kept, got := killed.nodes[id], closed.nodes[id]
			if !before.restsDown(was) || was.endsAnyhow() || !reflect.DeepEqual(down(was), down(kept)) {
				continue
			}
			if got == nil || !reflect.DeepEqual(down(got), down(kept)) {
				rt.Fatalf("%s was %+v; after a stop it is %+v; its supervisor was %+v, is %+v", id, down(was), down(got), show(was.parent), show(got.parent))
			}
		}
	})
}

// restsDown reports whether a node is down and nothing is about to start it, or a
// supervisor above it.
func (t *Tree) restsDown(n *node) bool {
	p := n.parent
	if !n.st.Phase.Down() || n.awaitsTurn() || p != nil && t.willStart(p, n) || n.st.Command != nil {
		return false
	}
	return p != nil && (p.up() || t.restsDown(p)) || p == nil && n.st.Phase == Waiting
}

// endsAnyhow reports whether a supervisor above a node does not continue where it was:
// it is temporary, or is about to be restarted with its group.
func (n *node) endsAnyhow() bool {
	p := n.parent
	return p != nil && (p.spec.Restart == Temporary || p.parent.stops(p) || p.endsAnyhow())
}

// rest is what holds of a node that is down. One whose supervisor has yet to start is
// still held.
type rest struct {
	Phase     Phase
	End       End
	Due       Instant
	Since     Instant
	Attempts  int
	Isolation *Isolation
	Window    []Instant
}

func down(n *node) rest {
	if n == nil {
		return rest{}
	}
	r := rest{cmp.Or(n.st.Held, n.st.Phase), n.st.End, n.st.Due, n.st.Since, n.st.Attempts, n.st.Isolation, nil}
	if s := n.st.Supervisor; s != nil && len(s.Window) > 0 {
		r.Window = s.Window
	}
	return r
}

// again returns the tree as the log has it.
func (w *world) again() *Tree { return reload(w.t, w.tree) }

func reload(t *rapid.T, tree *Tree) *Tree {
	raw, err := json.Marshal(tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	again, err := Load(Options{}, s)
	if err != nil {
		t.Fatal(err)
	}
	again.setRunners(tree.runners)
	return again
}

func (w *world) boots(t *Tree) {
	t.Step(&Input{Kind: Configure, Keep: true, Boot: true}, w.now, nil)
}

// closes stops the whole tree because the service stops.
func (w *world) closes(t *Tree) {
	t.Step(&Input{Kind: Order, Command: CmdClose, Node: t.Root(), Token: "close"}, w.now, nil)
	for stopping := true; stopping; {
		stopping = false
		for _, e := range t.Outstanding() {
			if e.Kind == DoStop {
				stopping = true
				t.Step(&Input{Kind: Stopped, Node: e.Node, Incarnation: e.Incarnation}, w.now, nil)
			}
		}
	}
	if st := t.root.st; st.Phase != Idle {
		w.t.Fatalf("the root is %s after a stop", st.Phase)
	}
}

func show(n *node) string {
	if n == nil {
		return "none"
	}
	raw, _ := json.Marshal(struct {
		*Spec
		*State
	}{n.spec, &n.st})
	return string(raw)
}
