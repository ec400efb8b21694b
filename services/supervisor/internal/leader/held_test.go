package leader

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// takenOver returns a leader that has taken over an empty tree of a, which names
// runner r1, and b, which may run on any. It gathers, and has heard of some runners.
func takenOver(t *testing.T, runners ...string) *Leader {
	t.Helper()
	l := New(Options{Announced: time.Second}, State{Tree: tree.New(tree.Options{})}, tree.Input{Kind: tree.Configure, Boot: true, Specs: []*tree.Spec{
		{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 10, Period: time.Minute}},
		{ID: "a", Parent: "root", Rank: 1, Agent: &tree.Agent{Runner: "r1"}},
		{ID: "b", Parent: "root", Rank: 2, Agent: &tree.Agent{Runner: tree.AnyRunner}},
	}})
	next(t, l)
	l.CatchUp(0)
	next(t, l)
	for _, r := range runners {
		l.Meet(r)
	}
	return l
}

// visit compares a runner's records with the tree at an instant, and lets the runner
// take starts.
func visit(l *Leader, at tree.Instant, runner string, held ...tree.Held) Visit {
	v := l.Visit(tree.Inventory{Runner: runner, Expected: l.tree.Expected(runner), Held: held}, 0, at)
	for _, in := range v.Inputs {
		l.Submit(Input{Input: in}, at)
	}
	l.Submit(Input{Seen: runner}, at)
	l.Submit(Input{Input: tree.Input{Kind: tree.Runners, Runners: append(l.tree.Available(), tree.Runner{Name: runner})}}, at)
	return v
}

// decide decides on all that waits and returns what is to be done.
func decide(l *Leader, at tree.Instant) (orders []string) {
	for l.Ready() {
		l.Advance(l.Decide(at, "m"))
	}
	for _, o := range l.Due() {
		orders = append(orders, string(o.Kind)+" "+o.Node+" on "+o.Runner)
	}
	return orders
}

func want(t *testing.T, when string, got []string, orders ...string) {
	t.Helper()
	if diff := cmp.Diff(orders, got); diff != "" {
		t.Errorf("%s: %s", when, diff)
	}
}

// TestRoamersWait: an agent that may run on any runner waits until each that was
// heard has been visited; one that names its runner waits for that one only.
func TestRoamersWait(t *testing.T) {
	t.Parallel()
	soon := noon.Add(10 * time.Millisecond)
	t.Run("for every runner", func(t *testing.T) {
		t.Parallel()
		l := takenOver(t, "r1", "r2")
		visit(l, soon, "r1")
		want(t, "r1 is visited", decide(l, soon), "start a on r1")
		late := noon.Add(5 * time.Second)
		visit(l, late, "r2")
		want(t, "r2 is visited", decide(l, late), "start b on r2")
	})
	t.Run("until nobody else can come", func(t *testing.T) {
		t.Parallel()
		l := takenOver(t, "r1")
		visit(l, soon, "r1")
		want(t, "r1 is visited", decide(l, soon), "start a on r1")
		due, ok := l.Next()
		if !ok || due != noon.Add(1500*time.Millisecond) {
			t.Fatalf("due at %d, %t", due, ok)
		}
		l.Submit(Input{Input: tree.Input{Kind: tree.Tick}}, due)
		want(t, "all have announced themselves", decide(l, due), "start b on r1")
	})
	t.Run("for one that never answers, for a while", func(t *testing.T) {
		t.Parallel()
		l := takenOver(t, "r1", "hung")
		visit(l, soon, "r1")
		decide(l, soon)
		due, ok := l.Next()
		if !ok || due != noon.Add(gatherMost) {
			t.Fatalf("due at %d, %t", due, ok)
		}
		l.Submit(Input{Input: tree.Input{Kind: tree.Tick}}, due)
		want(t, "at last", decide(l, due), "start b on r1")
	})
	t.Run("for an agent that comes later", func(t *testing.T) {
		t.Parallel()
		l := takenOver(t, "r1", "hung")
		l.Submit(Input{Input: tree.Input{Kind: tree.Order, Command: tree.CmdRemove, Node: "b"}}, soon)
		visit(l, soon, "r1")
		decide(l, soon)
		c := &tree.Spec{ID: "c", Parent: "root", Agent: &tree.Agent{Runner: tree.AnyRunner}}
		l.Submit(Input{Input: tree.Input{Kind: tree.Order, Command: tree.CmdAdd, Spec: c}}, soon)
		want(t, "c is added", decide(l, soon))
	})
}

// TestNobodyStartsBesideACopy: an agent that is added while a runner still ends a copy
// that the log did not know starts on no other runner before that has ended.
func TestNobodyStartsBesideACopy(t *testing.T) {
	t.Parallel()
	c := &tree.Spec{ID: "c", Parent: "root", Agent: &tree.Agent{Runner: tree.AnyRunner}}
	for name, release := range map[string]func(l *Leader){
		"ended": func(l *Leader) { l.Ended("r1", Fence{"c", 3}) },
		"ended before": func(l *Leader) {
			l.Visit(tree.Inventory{Runner: "r1", Held: []tree.Held{{Agent: "c", Incarnation: 3, State: tree.HeldEnded, Ours: true}}}, 0, noon)
			l.Submit(Input{Seen: "r1"}, noon)
		},
		"gone": func(l *Leader) { l.Gone("r1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			late := noon.Add(2 * time.Second)
			l := takenOver(t, "r1", "r2")
			v := visit(l, late, "r1", tree.Held{Agent: "c", Incarnation: 3, State: tree.HeldRunning, Ours: true})
			if diff := cmp.Diff([]Fence{{"c", 3}}, v.Stale); diff != "" {
				t.Fatalf("stale: %s", diff)
			}
			visit(l, late, "r2")
			decide(l, late)
			l.Submit(Input{Input: tree.Input{Kind: tree.Started, Node: "a", Incarnation: 1}}, late)
			l.Submit(Input{Input: tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r2"}}}}, late)
			l.Submit(Input{Input: tree.Input{Kind: tree.Order, Command: tree.CmdAdd, Spec: c}}, late)
			want(t, "c is added", decide(l, late))
			if diff := cmp.Diff([]string{"c"}, l.Lingering("r1")); diff != "" {
				t.Errorf("lingering: %s", diff)
			}
			l.Ended("r1", Fence{"c", 2})
			want(t, "an older one has ended", decide(l, late))
			release(l)
			want(t, name, decide(l, late), "start c on r2")
			if _, st, _ := l.tree.Lookup("c"); st.Incarnation != 4 {
				t.Errorf("its incarnation is %d, want 4: the copy had 3", st.Incarnation)
			}
		})
	}
}

// TestRemovedWhileItsRunnerIsVisited: an agent may be removed between the moment in
// which its copy is found and the decision on that. The runner is visited once more,
// and until then nobody of that name starts elsewhere.
func TestRemovedWhileItsRunnerIsVisited(t *testing.T) {
	t.Parallel()
	l, soon := takenOver(t, "r1"), noon.Add(2*time.Second)
	l.Submit(Input{Input: tree.Input{Kind: tree.Order, Command: tree.CmdRemove, Node: "b"}}, soon)
	visit(l, soon, "r1", tree.Held{Agent: "b", Incarnation: 3, State: tree.HeldRunning, Ours: true})
	var again []string
	for l.Ready() {
		again = append(again, l.Advance(l.Decide(soon, "m")).Revisit...)
	}
	if diff := cmp.Diff([]string{"r1"}, again); diff != "" {
		t.Fatalf("visited again: %s", diff)
	}
	l.Due()
	b := &tree.Spec{ID: "b", Parent: "root", Agent: &tree.Agent{Runner: tree.AnyRunner}}
	l.Submit(Input{Input: tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r2"}}}}, soon)
	l.Submit(Input{Input: tree.Input{Kind: tree.Order, Command: tree.CmdAdd, Spec: b}}, soon)
	want(t, "b is added", decide(l, soon))
	v := visit(l, soon, "r1", tree.Held{Agent: "b", Incarnation: 3, State: tree.HeldRunning, Ours: true})
	if len(v.Inputs) != 1 || v.Inputs[0].Kind != tree.Found {
		t.Errorf("%+v", v)
	}
}

// TestOutstandingStartsWait: what a predecessor was about to start may run elsewhere,
// where the log has lost its later decisions.
func TestOutstandingStartsWait(t *testing.T) {
	t.Parallel()
	first := leading(t)
	for name, c := range map[string]struct {
		held []tree.Held
		want []string
	}{
		"nobody has it":   {nil, []string{"start a on r", "start b on r"}},
		"another has one": {[]tree.Held{{Agent: "a", Incarnation: 1, State: tree.HeldRunning, Ours: true}}, []string{"start b on r"}},
		"a newer one":     {[]tree.Held{{Agent: "a", Incarnation: 2, State: tree.HeldRunning, Ours: true}}, []string{"start b on r", "stop a on r"}},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := tree.Load(tree.Options{}, first.tree.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			l := New(Options{Announced: time.Second}, State{Tree: loaded}, configuration())
			next(t, l)
			l.CatchUp(0)
			next(t, l)
			want(t, "it leads", decide(l, noon))
			late := noon.Add(2 * time.Second)
			visit(l, late, "s", c.held...)
			want(t, name, decide(l, late), c.want...)
		})
	}
}

// TestTerm: a leader's term is higher than any that runners were told.
func TestTerm(t *testing.T) {
	t.Parallel()
	l := takenOver(t, "r1")
	own := l.Term()
	if want := uint64(noon) / 1000; own != want {
		t.Fatalf("its term is %d, want %d, the time of its takeover", own, want)
	}
	for told, want := range map[uint64]uint64{0: own, own - 1: own, own: own, own + 5: own + 6} {
		l := takenOver(t, "r1")
		if v := l.Visit(tree.Inventory{Runner: "r1"}, told, noon); l.Term() != want || v.Outbid != (want > own) {
			t.Errorf("told %d, its term is %d, outbid %t; want %d", told, l.Term(), v.Outbid, want)
		}
	}
}
