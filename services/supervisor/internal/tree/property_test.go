package tree

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// TestFleetConverges drives random trees through random faults, losses of the
// supervisor's memory and commands, and then lets it be calm. No agent may
// ever run twice, the log must always hold the tree, and in the end every
// permanent child runs whose supervisors all run.
func TestFleetConverges(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, tree: New(Options{}), now: 1e18, lanes: map[string][]Effect{}, live: map[string]uint64{}, seen: map[string]uint64{}, excused: map[string]bool{}, orders: map[given]CommandKind{}, answered: map[string]bool{}, builds: map[Replaced]string{}, served: map[string]bool{}}
		specs := drawTree(rt)
		w.step(Input{Kind: Configure, Specs: specs, Boot: true})
		w.step(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2", Capacity: 2}}})
		for range rapid.IntRange(0, 120).Draw(rt, "steps") {
			w.disturb(specs)
		}
		w.consistent()
		w.calm = true
		for _, s := range specs {
			w.step(Input{Kind: Order, Command: CmdResume, Node: s.ID})
		}
		w.settle(specs)
	})
}

// disturb lets one random thing happen.
func (w *world) disturb(specs []*Spec) {
	t := w.t
	agents := sortedKeys(w.live)
	switch k := rapid.IntRange(0, 20).Draw(t, "what"); {
	case k < 7 && len(w.lanes) > 0:
		w.perform(rapid.SampledFrom(sortedKeys(w.lanes)).Draw(t, "lane"))
	case k < 13 && len(w.inbox) > 0:
		w.deliver(rapid.IntRange(0, len(w.inbox)-1).Draw(t, "input"))
	case k < 15 && len(agents) > 0:
		a := rapid.SampledFrom(agents).Draw(t, "dies")
		w.inbox = append(w.inbox, Input{Kind: Exited, Node: a, Incarnation: w.live[a], Normal: rapid.IntRange(0, 3).Draw(t, "normal") == 0, Reason: "exit"})
		delete(w.live, a)
	case k == 15 && len(agents) > 0:
		a := rapid.SampledFrom(agents).Draw(t, "hangs")
		w.inbox = append(w.inbox, Input{Kind: Failed, Node: a, Incarnation: w.live[a], Reason: "silent"})
	case k == 16:
		w.crash(Options{})
	case k == 17:
		n := rapid.SampledFrom(specs).Draw(t, "node")
		cmd := rapid.SampledFrom([]CommandKind{CmdTerminate, CmdStart, CmdRestart, CmdRemove, CmdSuspend, CmdResume, CmdClose}).Draw(t, "command")
		if cmd == CmdClose {
			n = specs[0] // the root
		}
		if rapid.IntRange(0, 5).Draw(t, "moves") == 0 {
			w.step(Input{Kind: Order, Command: CmdMove, Node: n.ID, To: rapid.SampledFrom(specs).Draw(t, "to").ID})
			return
		}
		if n.Parent != "" || cmd == CmdClose {
			w.excused[n.ID] = w.excused[n.ID] || cmd == CmdStart || cmd == CmdTerminate
			w.step(Input{Kind: Order, Command: cmd, Node: n.ID, Token: w.token()})
		}
	case k == 18:
		w.configure(specs)
	case k == 19:
		n := rapid.SampledFrom(specs).Draw(t, "rolled")
		w.step(Input{Kind: Order, Command: CmdRoll, Node: n.ID, Count: rapid.IntRange(1, 3).Draw(t, "at once"), Outdated: rapid.Bool().Draw(t, "outdated"), Token: "x"})
	default:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond)
		w.step(Input{Kind: Tick})
	}
}

// settle lets everything happen that is under way, and time pass.
func (w *world) settle(specs []*Spec) {
	for range 5000 {
		switch {
		case len(w.inbox) > 0:
			w.deliver(0)
		case len(w.lanes) > 0:
			w.perform(sortedKeys(w.lanes)[0])
		default:
			due, ok := w.tree.Next()
			if !ok {
				w.consistent()
				w.check(specs)
				return
			}
			w.now = max(w.now, due)
			w.step(Input{Kind: Tick})
		}
	}
	raw, _ := json.MarshalIndent(w.tree.Snapshot(), "", " ")
	w.t.Fatalf("it never comes to rest:\n%s", raw)
}

func (w *world) check(specs []*Spec) {
	w.checkRolling()
	for _, s := range specs {
		n := w.tree.nodes[s.ID]
		if n == nil {
			continue
		}
		if op := n.op(); op != nil {
			w.t.Fatalf("%s is still in %+v", s.ID, *op)
		}
		if n.st.Command != nil || len(n.queue) > 0 || n.st.Phase == Ended {
			w.t.Fatalf("%s still has %+v and %d waiting", s.ID, n.st.Command, len(n.queue))
		}
		switch p := n.parent; {
		case n.st.Phase != Running && n.st.Phase != Idle && n.st.Phase != Gone:
			w.t.Fatalf("%s rests in phase %s", s.ID, n.st.Phase)
		case p == nil || p.st.Phase != Running:
			if n.st.Phase == Running && p != nil {
				w.t.Fatalf("%s runs under %s, which is %s", s.ID, p.spec.ID, p.st.Phase)
			}
		case n.spec.Restart == Permanent && n.st.Phase != Running && n.st.End != EndGaveUp && !w.excused[s.ID]:
			w.t.Fatalf("%s is %s (%s) though its supervisor runs", s.ID, n.st.Phase, n.st.Why)
		}
		if s.Agent == nil {
			continue
		}
		if up := n.st.Phase == Running; up != (w.live[s.ID] > 0) || up && w.live[s.ID] != n.st.Incarnation {
			w.t.Fatalf("%s: the tree says %s incarnation %d, alive is %d", s.ID, n.st.Phase, n.st.Incarnation, w.live[s.ID])
		}
	}
}
