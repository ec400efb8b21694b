package tree

import "testing"

// visit has a runner list what it has, and everything that differs decided.
func (b *bench) visit(runner string, held ...Held) (stale []Held) {
	inputs, stale := b.tree.Reconcile(Inventory{Runner: runner, Expected: b.tree.Expected(runner), Held: held})
	for _, in := range inputs {
		b.do(in)
	}
	return stale
}

func running(agent string, incarnation uint64) Held {
	return Held{Agent: agent, Incarnation: incarnation, PID: 100 + int(incarnation)}
}

func endedAs(agent string, incarnation uint64, s HeldState) Held {
	return Held{Agent: agent, Incarnation: incarnation, State: s, Reason: "exited with code 1", Event: "end-of-" + agent}
}

// A tree that knows agents in their first incarnation visits a runner that
// knows better.
func TestReconcile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held []Held
		// a is what becomes of it, done what was done for it.
		phase       Phase
		incarnation uint64
		done        string
		charged     int
		stale       int
	}{
		"the same":                  {held: []Held{running("a", 1)}, phase: Running, incarnation: 1},
		"a newer one lives":         {held: []Held{running("a", 4)}, phase: Running, incarnation: 4, done: "running a"},
		"a newer one has ended":     {held: []Held{endedAs("a", 4, HeldFailed)}, phase: Running, incarnation: 5, done: "restart a, start a, running a"},
		"it is unknown":             {phase: Running, incarnation: 2, done: "restart a, start a, running a"},
		"an older one is known":     {held: []Held{endedAs("a", 0, HeldFailed)}, phase: Running, incarnation: 2, done: "restart a, start a, running a"},
		"it has failed":             {held: []Held{endedAs("a", 1, HeldFailed)}, phase: Waiting, incarnation: 1, done: "restart a", charged: 1},
		"it has completed":          {held: []Held{endedAs("a", 1, HeldCompleted)}, phase: Waiting, incarnation: 1, done: "restart a", charged: 1},
		"it ended, not by itself":   {held: []Held{endedAs("a", 1, HeldEnded)}, phase: Running, incarnation: 2, done: "restart a, start a, running a"},
		"a newer one is stopping":   {held: []Held{{Agent: "a", Incarnation: 3, State: HeldStopping}}, phase: Running, incarnation: 4, done: "stop a, start a, running a"},
		"a number beyond counting":  {held: []Held{running("a", MaxIncarnation)}, phase: Running, incarnation: 1},
		"an agent of somebody else": {held: []Held{running("a", 1), running("x", 7)}, phase: Running, incarnation: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", anywhere()), agent("b", "root", anywhere()))
			b.runners("r1")
			b.took()
			stale := b.visit("r1", append(c.held, running("b", 1))...)
			if st := b.state("a"); st.Phase != c.phase || st.Incarnation != c.incarnation || len(stale) != c.stale {
				t.Errorf("a is %s #%d, %d stale; want %s #%d, %d", st.Phase, st.Incarnation, len(stale), c.phase, c.incarnation, c.stale)
			}
			if done := b.took(); done != c.done {
				t.Errorf("done: %s; want %s", done, c.done)
			}
			if w := b.state("root").Supervisor.Window; len(w) != c.charged {
				t.Errorf("%d charged, want %d", len(w), c.charged)
			}
			b.wantOn("b", "r1", 1)
			if again := b.visit("r1", running("a", b.state("a").Incarnation), running("b", 1)); c.phase == Running && (len(again) > 0 || b.took() != "") {
				t.Error("a visit that finds what was decided leads to something")
			}
		})
	}
}

// A tree whose log was emptied finds agents of all numbers.
func TestReconcileWithAnEmptyLog(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}),
		agent("a", "root", anywhere()), agent("b", "root", pinned("r1")), agent("c", "root", anywhere()), agent("d", "root", anywhere()),
		sup("group", "root", Supervisor{Strategy: RestForOne}), agent("g1", "group", pinned("r1")), agent("g2", "group", pinned("r1")), agent("g3", "group", pinned("r1")))
	b.took()
	// One of the same number as the start that waits, which is not that start.
	if stale := b.visit("r1", running("a", 9), running("b", 1), endedAs("c", 1, HeldFailed), endedAs("d", 6, HeldFailed), running("g2", 3)); len(stale) > 0 {
		t.Errorf("stopped: %v", stale)
	}
	b.runners("r1")
	b.wantOn("a", "r1", 9)
	b.wantOn("b", "r1", 1)
	b.wantOn("c", "r1", 2)
	b.wantOn("d", "r1", 7)
	b.wantOn("g1", "r1", 1)
	b.wantOn("g2", "r1", 3)
	b.wantOn("g3", "r1", 1)
	b.wantPhase("root", Running)
	b.wantPhase("group", Running)
	if load := b.tree.load["r1"]; load != 7 {
		t.Errorf("load %d, want 7", load)
	}
}

// Of two runners that each have an agent, the newest stays.
func TestReconcileTwoRunners(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", anywhere()))
	b.runners("r1", "r2")
	b.wantOn("a", "r1", 1)
	b.took()
	b.visit("r2", running("a", 4))
	b.wantOn("a", "r2", 4)
	if done := b.took(); done != "stop a, running a" {
		t.Errorf("done: %s", done)
	}
	if stale := b.visit("r1", running("a", 1)); len(stale) != 1 {
		t.Error("the older one is left")
	}
	if stale := b.visit("r1", running("a", 4)); len(stale) != 1 {
		t.Error("one of the same number on another runner is left")
	}
	if b.tree.load["r1"] != 0 || b.tree.load["r2"] != 1 {
		t.Errorf("loads: %v", b.tree.load)
	}
}

// What the tree does not want is stopped, whatever its number.
func TestFoundAndNotWanted(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", anywhere()), agent("p", "root", pinned("r2")))
	b.runners("r1", "r2")
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a", Token: "t"})
	b.took()
	b.visit("r1", running("a", 4), running("p", 5))
	if st := b.state("a"); st.Phase != Idle || st.End != EndTerminated || st.Incarnation != 4 {
		t.Errorf("a: %+v", st)
	}
	b.wantOn("p", "r2", 6) // it is to be on r2 only
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t2"})
	if st := b.state("a"); st.Incarnation != 5 || st.Phase != Running {
		t.Errorf("a: %+v", st)
	}
}

// What a runner has under the number of a start that waited is stopped if that start
// was given up before the runner's list was taken into account.
func TestFoundWhenItsStartWasGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", pinned("r1")))
	list := Inventory{Runner: "r1", Held: []Held{running("a", b.state("a").Incarnation)}}
	decidedLater, _ := b.tree.Reconcile(list)
	if b.wantPhase("a", Unplaced); len(decidedLater) != 1 {
		t.Fatalf("inputs: %+v", decidedLater)
	}
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "a", Token: "t"})
	out := b.raw(decidedLater[0])
	if len(out) != 1 || out[0].Kind != DoStop || out[0].Runner != "r1" || out[0].Incarnation != 1 {
		t.Errorf("effects: %+v", out)
	}
	b.wantPhase("a", Idle)
}

// A start that is refused because a newer incarnation is known is made again
// under a newer number, and charged to nobody.
func TestRaised(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", pinned("r1")))
	b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}}})
	b.took()
	b.do(Input{Kind: Raised, Node: "a", Incarnation: 9})
	b.wantOn("a", "r1", 10)
	b.do(Input{Kind: Raised, Node: "a", Incarnation: 10}) // nothing newer
	b.do(Input{Kind: Raised, Node: "a", Incarnation: 20})
	b.wantOn("a", "r1", 10) // it lives; the next is newer
	b.do(Input{Kind: Raised, Node: "a", Incarnation: MaxIncarnation})
	b.do(Input{Kind: Order, Command: CmdRemove, Node: "a", Token: "t"})
	if got := b.tree.tombs["a"]; got != 20 {
		t.Errorf("tombstone %d, want 20", got)
	}
}

// A runner's list may have been read before an incarnation of it ended that the
// log does not know. It is not adopted, and its number is passed by. An older one
// that the tree believes to run had ended by then.
func TestEndThatIsNewerThanTheLog(t *testing.T) {
	t.Parallel()
	for _, kind := range []InputKind{Exited, Lost, StartFailed} {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("down", "root", pinned("r1")), agent("up", "root", pinned("r2")))
		b.runners("r2")
		b.wantOn("up", "r2", 1)
		list := Inventory{Runner: "r2", Expected: b.tree.Expected("r2"), Held: []Held{running("up", 4)}}
		decidedLater, _ := b.tree.Reconcile(list)
		b.tree.Changes(nil)
		b.do(Input{Kind: kind, Node: "down", Incarnation: 7, Reason: "it ended"})
		b.do(Input{Kind: kind, Node: "up", Incarnation: 4, Reason: "it ended"})
		if b.tree.Dirty() > 0 {
			t.Errorf("%s of what nobody knows changes something", kind)
		}
		for _, in := range decidedLater {
			b.do(in)
		}
		b.visit("r1", running("down", 7))
		b.wantOn("up", "r2", 5)
		if st := b.state("down"); st.Phase != Unplaced || st.Incarnation != 8 {
			t.Errorf("%s: %+v", kind, st)
		}
		b.runners("r1", "r2")
		b.wantOn("down", "r1", 8)
	}
}

// The end may be of an agent that the log does not know yet: it lost the order that
// added it, and another adds it before the runner's list is taken into account.
func TestEndOfWhatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{MaxRestarts: 5})
	b := newBench(t, root)
	b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Requested: true, Reason: "requested"})
	b.do(Input{Kind: Configure, Specs: []*Spec{root, agent("a", "root", pinned("r1"))}})
	b.visit("r1", running("a", 1))
	if st := b.state("a"); st.Phase != Unplaced || st.Incarnation != 2 {
		t.Errorf("%+v", st)
	}
}

// An agent whose runner's host lacks resources goes to another runner, or
// waits for one; it costs nothing.
func TestDeclined(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", anywhere()), agent("p", "root", pinned("r1")))
	b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}}})
	b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r2"}}}) // r1 takes no starts for a while
	b.do(Input{Kind: Declined, Node: "a", Incarnation: 1, Runner: "r1"})
	b.do(Input{Kind: Declined, Node: "p", Incarnation: 1, Runner: "r1"})
	b.do(Input{Kind: Declined, Node: "p", Incarnation: 1, Runner: "r1"})
	b.wantOn("a", "r2", 2)
	if st := b.state("p"); st.Phase != Unplaced || b.tree.load["r1"] != 0 {
		t.Errorf("p: %+v, load %v", st, b.tree.load)
	}
	b.do(Input{Kind: Declined, Node: "a", Incarnation: 2, Runner: "r2"}) // it runs
	b.wantOn("a", "r2", 2)
	b.runners("r1", "r2")
	b.wantOn("p", "r1", 2)
	if w := b.state("root").Supervisor.Window; len(w) > 0 || b.state("a").Restarts > 0 {
		t.Errorf("charged: %v, %+v", w, b.state("a"))
	}
}

// What is known of other runners does not make a start number that is under way
// another one, nor end what was started since the log was emptied.
func TestNumbersOfOtherRunners(t *testing.T) {
	t.Parallel()
	known := func(kind InputKind, runner string) Input {
		return Input{Kind: kind, Node: "a", Incarnation: 6, Runner: runner, Reason: "newer than the log"}
	}
	t.Run("of a start under way", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", anywhere()))
		b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}}})
		b.do(known(Raised, "r2"))
		if st := b.state("a"); st.Phase != Starting || st.Incarnation != 1 {
			t.Fatalf("%s #%d, want starting #1", st.Phase, st.Incarnation)
		}
		b.do(known(Raised, "r1"))
		if st := b.state("a"); st.Incarnation != 7 {
			t.Errorf("refused by its own runner it is #%d, want #7", st.Incarnation)
		}
	})
	t.Run("of one that has ended", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", anywhere()))
		b.runners("r1")
		b.took()
		b.do(Input{Kind: Exited, Node: "a", Incarnation: 6, Event: "e"})
		b.do(known(Found, "r2"))
		b.wantOn("a", "r1", 1)
		b.do(Input{Kind: Order, Command: CmdRestart, Node: "a"})
		b.wantOn("a", "r1", 7)
	})
	t.Run("of one that is not in the tree", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, sup("root", "", Supervisor{}))
		b.tree.Changes(nil)
		b.do(known(Raised, "r2"))
		changes := b.tree.Changes(nil)
		if len(changes) != 1 || !changes[0].Removed || changes[0].ID != "a" || changes[0].Tombstone != 6 {
			t.Fatalf("stored: %+v", changes)
		}
		b.runners("r1")
		b.do(Input{Kind: Order, Command: CmdAdd, Spec: agent("a", "root", anywhere())})
		b.wantOn("a", "r1", 7)
	})
}
