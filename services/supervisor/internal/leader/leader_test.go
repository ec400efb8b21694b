package leader

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const noon = tree.Instant(1_700_000_000 * time.Second)

func configuration() tree.Input {
	return tree.Input{Kind: tree.Configure, Boot: true, Specs: []*tree.Spec{
		{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 10, Period: time.Minute}},
		{ID: "a", Parent: "root", Rank: 1, Agent: &tree.Agent{Runner: tree.AnyRunner, Verify: true}},
		{ID: "b", Parent: "root", Rank: 2, Agent: &tree.Agent{Runner: tree.AnyRunner}},
	}}
}

// next decides once and stores it, if there is anything to decide.
func next(t *testing.T, l *Leader) (*Batch, Outcome) {
	t.Helper()
	if !l.Ready() {
		t.Fatalf("%s: nothing to decide", l.Stage())
	}
	b := l.Decide(noon, "m")
	if due := l.Due(); len(due) > 0 {
		t.Errorf("due before they are stored: %v", due)
	}
	if l.Ready() {
		t.Error("ready while a decision is being stored")
	}
	return b, l.Advance(b)
}

// leading returns a leader that has taken over an empty tree, with a runner.
func leading(t *testing.T) *Leader {
	t.Helper()
	l := New(Options{}, State{Tree: tree.New(tree.Options{})}, configuration())
	next(t, l)
	l.CatchUp(0)
	next(t, l)
	l.Submit(Input{Input: tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r"}}}}, noon)
	next(t, l)
	l.Due()
	return l
}

// TestTakingOver: the claim comes first, then evidence up to what there was at the
// claim, then the configuration.
func TestTakingOver(t *testing.T) {
	t.Parallel()
	l := New(Options{}, State{Tree: tree.New(tree.Options{}), Number: 7, Cursor: 20}, configuration())
	if b, _ := next(t, l); !b.Claims() || !b.MustStore() || b.Number != 8 || len(b.Steps) != 0 {
		t.Errorf("the first decision is %+v", b)
	}
	if l.Stage() != Claimed || l.Ready() {
		t.Errorf("%s, ready %t before it is known what to catch up with", l.Stage(), l.Ready())
	}
	l.CatchUp(22)
	if l.Ready() {
		t.Error("ready to configure at 20 of 22")
	}
	l.Submit(Input{Seq: 22}, noon)
	if b, _ := next(t, l); b.MustStore() || l.Cursor() != 22 {
		t.Errorf("what only moves the cursor: %+v, cursor %d", b, l.Cursor())
	}
	b, _ := next(t, l)
	if l.Stage() != Leading || len(b.Changes) != 3 || l.Number() != 9 {
		t.Errorf("%s with decision %d of %d changes", l.Stage(), l.Number(), len(b.Changes))
	}
}

// TestForgottenEvidence: taking over does not wait for evidence that the log no longer
// has.
func TestForgottenEvidence(t *testing.T) {
	t.Parallel()
	l := New(Options{}, State{Tree: tree.New(tree.Options{}), Number: 7, Cursor: 20}, configuration())
	next(t, l)
	l.CatchUp(22)
	if l.Begins(22) || l.Ready() {
		t.Error("the log still has it, and it is not waited for")
	}
	if !l.Begins(23) || l.Begins(24) || !l.Ready() {
		t.Error("it is waited for, or reported twice")
	}
	if next(t, l); l.Stage() != Leading || l.Cursor() != 20 {
		t.Errorf("%s at %d", l.Stage(), l.Cursor())
	}
}

// TestOutstanding: a successor orders again what its predecessor decided, once,
// and listens to the agents that come up.
func TestOutstanding(t *testing.T) {
	t.Parallel()
	first := leading(t)
	loaded, err := tree.Load(tree.Options{}, first.tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	l := New(Options{}, State{Tree: loaded}, configuration())
	next(t, l)
	l.CatchUp(0)
	_, out := next(t, l)
	var ordered []string
	for _, o := range l.Due() {
		ordered = append(ordered, string(o.Kind)+" "+o.Node)
	}
	if diff := cmp.Diff([]string{"start a", "start b"}, ordered); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a"}, out.Listen); diff != "" {
		t.Errorf("listened to: %s", diff)
	}
}

// TestAnswersAreLost: the log may lose what came of an order. So what a runner that is
// visited was ordered, and has not answered, is ordered again, unless it was reported as
// lost.
func TestAnswersAreLost(t *testing.T) {
	t.Parallel()
	l := leading(t)
	visited := func(want ...string) {
		t.Helper()
		l.Submit(Input{Seen: "other"}, noon)
		l.Submit(Input{Seen: "r"}, noon)
		next(t, l)
		var ordered []string
		for _, o := range l.Due() {
			ordered = append(ordered, string(o.Kind)+" "+o.Node)
		}
		if diff := cmp.Diff(want, ordered); diff != "" {
			t.Error(diff)
		}
	}
	visited("start a", "start b")
	l.Submit(Input{Input: tree.Input{Kind: tree.Started, Node: "b", Incarnation: 1}}, noon)
	visited("start a")
	l.Lose(Fence{"a", 1})
	visited()
}

// TestBatches: a decision closes when it takes too many inputs or changes too
// much, never before its first.
func TestBatches(t *testing.T) {
	t.Parallel()
	for _, opt := range []Options{{MaxInputs: 1}, {MaxChanged: 1}} {
		l := leading(t)
		l.opt = opt
		for _, agent := range []string{"a", "b"} {
			l.Submit(Input{Input: tree.Input{Kind: tree.Started, Node: agent, Incarnation: 1, PID: 1}}, noon)
		}
		for _, agent := range []string{"a", "b"} {
			if b, _ := next(t, l); len(b.Consumed) != 1 || b.Consumed[0].Node != agent {
				t.Errorf("%+v: took %v", opt, b.Consumed)
			}
		}
		if l.Ready() {
			t.Errorf("%+v: more to decide", opt)
		}
	}
}

// TestRunnersAreRecorded: news of runners that change nothing are part of the next
// decision that is stored, as it depends on them.
func TestRunnersAreRecorded(t *testing.T) {
	t.Parallel()
	l := leading(t)
	news := tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r"}, {Name: "s"}}}
	l.Submit(Input{Input: news}, noon)
	if b, _ := next(t, l); b.MustStore() || len(b.Steps) != 0 {
		t.Errorf("news alone: %+v", b)
	}
	l.Submit(Input{Input: tree.Input{Kind: tree.Started, Node: "b", Incarnation: 1}}, noon)
	b, _ := next(t, l)
	if len(b.Steps) != 2 || b.Steps[0].Kind != tree.Runners || b.Steps[1].Kind != tree.Started {
		t.Fatalf("recorded: %+v", b.Steps)
	}
	if len(b.EffectsOf(b.Steps[0])) != 0 || len(b.EffectsOf(b.Steps[1])) != 1 {
		t.Errorf("effects: %v and %v", b.EffectsOf(b.Steps[0]), b.EffectsOf(b.Steps[1]))
	}
}

// TestNews: only heartbeats that the tree does not know of are queued.
func TestNews(t *testing.T) {
	t.Parallel()
	l := leading(t)
	beat := func(agent string, n uint64, unwell bool) bool {
		return l.Submit(Input{Input: tree.Input{Kind: tree.Beat, Node: agent, Incarnation: n, Unwell: unwell}}, noon)
	}
	if beat("nobody", 1, false) || beat("a", 2, false) {
		t.Error("heartbeats of strangers are queued")
	}
	if !beat("a", 1, false) {
		t.Fatal("the first heartbeat is not queued")
	}
	next(t, l)
	if beat("a", 1, false) {
		t.Error("the same again is queued")
	}
	if !beat("a", 0, true) {
		t.Error("that it is unwell is not queued")
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	t.Parallel()
	l := leading(t)
	l.Submit(Input{Input: tree.Input{Kind: tree.Started, Node: "b", Incarnation: 1}}, noon)
	if b := l.Decide(noon-5, "m"); b.At != noon {
		t.Errorf("decided at %d, before %d", b.At, noon)
	}
}
