package tree

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a tree under test that keeps its time and its effects.
type bench struct {
	t    testing.TB
	tree *Tree
	now  Instant
	done []string
}

const epoch = Instant(1_700_000_000_000_000_000)

func newBench(t testing.TB, specs ...*Spec) *bench {
	b := &bench{t: t, tree: New(Options{}), now: epoch}
	b.do(Input{Kind: Configure, Specs: specs, Boot: true})
	return b
}

// do takes an input and answers starts and stops at once, as a healthy fleet
// does.
func (b *bench) do(in Input) {
	queue := []Input{in}
	for len(queue) > 0 {
		in, queue = queue[0], queue[1:]
		for _, e := range b.raw(in) {
			switch e.Kind {
			case DoStart:
				queue = append(queue, Input{Kind: Started, Node: e.Node, Incarnation: e.Incarnation})
			case DoStop:
				queue = append(queue, Input{Kind: Stopped, Node: e.Node, Incarnation: e.Incarnation})
			}
		}
	}
}

// raw takes an input and answers nothing.
func (b *bench) raw(in Input) []Effect {
	out := b.tree.Step(&in, b.now, nil)
	for _, e := range out {
		switch e.Kind {
		case DoReply:
			b.done = append(b.done, "reply "+string(e.Result))
		default:
			b.done = append(b.done, string(e.Kind)+" "+e.Node)
		}
	}
	return out
}

func (b *bench) after(d time.Duration) {
	b.now = b.now.Add(d)
	b.do(Input{Kind: Tick})
}

func (b *bench) crash(agent string) {
	b.do(Input{Kind: Exited, Node: agent, Incarnation: b.state(agent).Incarnation, Reason: "crash"})
}

func (b *bench) state(id string) State {
	b.t.Helper()
	_, st, ok := b.tree.Lookup(id)
	if !ok {
		b.t.Fatalf("there is no %s", id)
	}
	return st
}

func (b *bench) wantPhase(id string, want Phase) {
	b.t.Helper()
	if got := b.state(id).Phase; got != want {
		b.t.Errorf("%s is %s, want %s; done: %v", id, got, want, b.done)
	}
}

func (b *bench) took() string {
	out := strings.Join(b.done, ", ")
	b.done = nil
	return out
}

func sup(id, parent string, s Supervisor) *Spec {
	if s.Strategy == "" {
		s.Strategy = OneForOne
	}
	if s.Period == 0 {
		s.Period = time.Minute
	}
	return &Spec{ID: id, Parent: parent, Supervisor: &s}
}

func agent(id, parent string, change ...func(*Spec)) *Spec {
	s := &Spec{ID: id, Parent: parent, Agent: &Agent{}, ShutdownTimeout: 5 * time.Second}
	for _, f := range change {
		f(s)
	}
	return s
}

func TestSlidingWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// at are the seconds of crashes; the last is the first that is too
		// much, unless ok.
		at []int
		ok bool
	}{
		{"one more than allowed", []int{0, 1, 2, 3}, false},
		{"exactly the limit", []int{0, 1, 2}, true},
		{"the first has left the window", []int{0, 5, 6, 61}, true},
		{"the first is just still in it", []int{0, 5, 6, 60}, false},
		{"slow for ever", []int{0, 30, 60, 90, 120, 150, 180, 210}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 3}), agent("a", "root"))
			for i, s := range c.at {
				b.wantPhase("root", Running)
				b.now = epoch.Add(time.Duration(s) * time.Second)
				b.crash("a")
				if up := b.state("root").Phase == Running; up != (c.ok || i < len(c.at)-1) {
					t.Fatalf("after crash %d at %d s: running %v", i+1, s, up)
				}
			}
		})
	}
}

func TestBackoffs(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		b    Backoff
		want []time.Duration
	}{
		{"none", Backoff{}, []time.Duration{0, 0, 0}},
		{"fixed", Backoff{Type: Fixed, Delay: 100 * ms}, []time.Duration{100 * ms, 100 * ms, 100 * ms}},
		{"linear", Backoff{Type: Linear, Delay: 100 * ms, Increment: 50 * ms, Max: 190 * ms}, []time.Duration{100 * ms, 150 * ms, 190 * ms}},
		{"exponential", Backoff{Type: Exponential, Delay: 100 * ms, Base: 1.5, Max: 300 * ms}, []time.Duration{100 * ms, 150 * ms, 225 * ms, 300 * ms, 300 * ms}},
		{"fibonacci", Backoff{Type: Fibonacci, Delay: 500 * ms, Max: 3 * time.Second}, []time.Duration{500 * ms, 500 * ms, time.Second, 1500 * ms, 2500 * ms, 3 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n, want := range c.want {
				if got := c.b.Wait(n, 1); got != want {
					t.Errorf("restart %d waits %s, want %s", n, got, want)
				}
			}
			if got := c.b.Wait(1_000_000, 1); got < 0 || got > longest {
				t.Errorf("restart 1,000,000 waits %s", got)
			}
		})
	}
	j := Backoff{Type: Exponential, Delay: 100 * ms, Base: 2, Max: time.Second, Jitter: 0.2}
	seen := map[time.Duration]bool{}
	for seed := range uint64(1000) {
		d := j.Wait(0, seed)
		if d < 80*ms || d > 120*ms || d != j.Wait(0, seed) {
			t.Fatalf("seed %d: %s", seed, d)
		}
		seen[d] = true
		if j.Wait(30, seed) > time.Second {
			t.Fatalf("seed %d: jitter exceeds the cap", seed)
		}
	}
	if len(seen) < 900 {
		t.Errorf("jitter gives only %d different delays of 1000", len(seen))
	}
}

func TestBackoffIsAStateAndResets(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 100}),
		agent("a", "root", func(s *Spec) {
			s.Backoff = Backoff{Type: Exponential, Delay: time.Second, Base: 2, Reset: time.Minute}
		}))
	for _, want := range []time.Duration{1, 2, 4} {
		b.crash("a")
		b.wantPhase("a", Waiting)
		if due, _ := b.tree.Next(); due != b.now.Add(want*time.Second) {
			t.Fatalf("due in %s, want %d s", time.Duration(due-b.now), want)
		}
		b.after(want*time.Second - 1)
		b.wantPhase("a", Waiting)
		b.after(1)
		b.wantPhase("a", Running)
	}
	b.now = b.now.Add(time.Minute)
	b.crash("a")
	if due, _ := b.tree.Next(); due != b.now.Add(time.Second) {
		t.Errorf("after a stable minute it waits %s, want 1 s", time.Duration(due-b.now))
	}
}

func TestGroupWaitsTheLongestDelay(t *testing.T) {
	t.Parallel()
	delay := func(d time.Duration) func(*Spec) { return func(s *Spec) { s.Backoff = Backoff{Delay: d} } }
	b := newBench(t, sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9}),
		agent("a", "root", delay(3*time.Second)), agent("b", "root", delay(time.Second)), agent("c", "root"))
	b.took()
	b.crash("b")
	b.now = b.now.Add(time.Second / 2)
	b.crash("a")
	if got := b.took(); got != "restart b, group root, stop c, restart a, group root" {
		t.Errorf("two failures: %s", got)
	}
	b.after(time.Second)
	if got := b.took(); got != "" {
		t.Errorf("after the shorter delay: %s", got)
	}
	b.after(2 * time.Second)
	b.wantPhase("c", Running)
	if got := b.took(); !strings.HasPrefix(got, "start a, ") || !strings.Contains(got, "start b, ") {
		t.Errorf("after the longer delay: %s", got)
	}
}

func TestEscalationPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Escalation
		want   string
		sup    Phase
		later  Phase
	}{
		{"", "escalate s, stop b, down s, restart s, boot s, start a, start b", Running, Running},
		{ToParent, "escalate s, stop b, down s, restart s, boot s, start a, start b", Running, Running},
		{Terminate, "terminate s, stop b, down s", Idle, Idle},
		{CoolOff, "cool_off s, stop b", Waiting, Running},
		{Ignore, "ignore s, restart a, start a", Running, Running},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
				sup("s", "root", Supervisor{MaxRestarts: 1, Escalation: c.policy, CoolOff: 10 * time.Second}),
				agent("a", "s"), agent("b", "s"), agent("z", "root"))
			b.crash("a")
			b.took()
			b.crash("a")
			got := strings.ReplaceAll(strings.ReplaceAll(b.took(), ", running a", ""), ", running b", "")
			if got != c.want {
				t.Errorf("done %s\nwant %s", got, c.want)
			}
			b.wantPhase("s", c.sup)
			b.wantPhase("z", Running)
			b.after(10 * time.Second)
			b.wantPhase("s", c.later)
			if c.later == Running {
				b.wantPhase("a", Running)
				b.wantPhase("b", Running)
			}
		})
	}
}

func TestRootPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Escalation
		note   string
		later  Phase
	}{
		{ToParent, "give_up root", Idle}, {Terminate, "give_up root", Idle}, {CoolOff, "cool_off root", Running}, {Ignore, "ignore root", Running},
	} {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 0, Escalation: c.policy, CoolOff: time.Second}), agent("a", "root"))
		b.took()
		b.crash("a")
		if got := b.took(); !strings.HasPrefix(got, c.note) {
			t.Errorf("%s: %s", c.policy, got)
		}
		b.after(time.Second)
		b.wantPhase("root", c.later)
	}
}

func TestEscalateStrategyFailsAbnormally(t *testing.T) {
	t.Parallel()
	s := sup("s", "root", Supervisor{Strategy: Escalate, MaxRestarts: 9})
	s.Restart = Transient // restarted, because the end was abnormal
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 1}), s, agent("a", "s"), agent("b", "s"))
	b.took()
	b.crash("a")
	b.wantPhase("b", Running)
	if got := b.took(); !strings.HasPrefix(got, "escalate s, stop b, down s, restart s, boot s") {
		t.Error(got)
	}
}

func TestVerification(t *testing.T) {
	t.Parallel()
	verified := func(s *Spec) {
		s.Agent.Verify, s.Agent.StartDeadline, s.Agent.Stabilisation = true, 10*time.Second, time.Second/2
	}
	for _, c := range []struct {
		name string
		do   func(b *bench)
		want string
		then Phase
	}{
		{"healthy", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
			b.after(time.Second / 2)
		}, "running a", Running},
		{"empty beat", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", At: b.now})
			b.after(time.Second / 2)
		}, "running a", Running},
		{"not yet stable", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
			b.after(time.Second/2 - 1)
		}, "", Stabilising},
		{"a beat of another incarnation", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 2})
			b.after(time.Second)
		}, "", Verifying},
		{"no beat", func(b *bench) { b.after(10 * time.Second) }, "report a", Verifying},
		{"unwell", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1, Unwell: true})
			b.after(time.Second / 2)
		}, "report a", Stabilising},
		{"unwell, then well", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1, Unwell: true})
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
			b.after(time.Second / 2)
		}, "running a", Running},
		{"reported and confirmed", func(b *bench) {
			b.after(10 * time.Second)
			b.do(Input{Kind: Failed, Node: "a", Incarnation: 1, Reason: "unverified"})
		}, "report a, stop a, restart a, start a", Verifying},
		{"exits while stabilising", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
			b.crash("a")
		}, "restart a, start a", Verifying},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root", verified))
			b.took()
			c.do(b)
			if got := b.took(); got != c.want {
				t.Errorf("done %q, want %q", got, c.want)
			}
			b.wantPhase("a", c.then)
		})
	}
}

func TestVerdictKillsBeforeRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"))
	out := b.raw(Input{Kind: Failed, Node: "a", Incarnation: 1, Reason: "silent"})
	if len(out) != 1 || out[0].Kind != DoStop || !out[0].Kill || out[0].Incarnation != 1 {
		t.Fatalf("effects %+v", out)
	}
	b.do(Input{Kind: Stopped, Node: "a", Incarnation: 1})
	if st := b.state("a"); st.Phase != Running || st.Incarnation != 2 {
		t.Errorf("%+v", st)
	}
}

// TestExitConfirmsStop: the answer to a stop may be lost with the runner that
// gave it, but the exit is in the log.
func TestExitConfirmsStop(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"))
	b.raw(Input{Kind: Failed, Node: "a", Incarnation: 1, Reason: "silent"})
	b.do(Input{Kind: Exited, Node: "a", Incarnation: 1})
	if st := b.state("a"); st.Phase != Running || st.Incarnation != 2 {
		t.Errorf("%+v", st)
	}
	if out := b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1}); len(out) != 0 {
		t.Errorf("the late answer had effects: %+v", out)
	}
}

func TestStaleInputsChangeNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("a", "root"))
	b.crash("a") // now 2
	b.tree.Changes(nil)
	for _, in := range []Input{
		{Kind: Exited, Node: "a", Incarnation: 1},
		{Kind: Exited, Node: "a", Incarnation: 3},
		{Kind: Exited, Node: "a"},
		{Kind: Failed, Node: "a", Incarnation: 1},
		{Kind: Failed, Node: "a", At: epoch - 1},
		{Kind: Started, Node: "a", Incarnation: 2},
		{Kind: StartFailed, Node: "a", Incarnation: 2},
		{Kind: Stopped, Node: "a", Incarnation: 2},
		{Kind: Exited, Node: "nobody", Incarnation: 1},
		{Kind: Exited, Node: "root", Incarnation: 0},
		{Kind: "what", Node: "a", Incarnation: 2},
		{},
	} {
		if out := b.raw(in); len(out) > 0 || b.tree.Dirty() > 0 {
			t.Errorf("%+v led to %+v", in, out)
		}
	}
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	on := func(r string) func(*Spec) { return func(s *Spec) { s.Agent.Runner = r } }
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 50}),
		agent("a", "root", on(AnyRunner)), agent("b", "root", on(AnyRunner)), agent("c", "root", on(AnyRunner)), agent("d", "root", on("special")))
	if n := b.tree.Unplaced(); n != 4 {
		t.Fatalf("%d wait for a runner, want 4", n)
	}
	b.do(Input{Kind: Runners, Runners: []Runner{{Name: "r2"}, {Name: "r1", Capacity: 1}, {Name: "own", Named: true}}})
	got := []string{b.state("a").Runner, b.state("b").Runner, b.state("c").Runner, b.state("d").Runner}
	if want := []string{"r1", "r2", "r2", ""}; !slices.Equal(got, want) {
		t.Errorf("placed on %v, want %v", got, want)
	}
	b.do(Input{Kind: Runners, Runners: []Runner{{Name: "special", Named: true}, {Name: "r2"}}})
	b.wantPhase("d", Running)
	b.crash("a")
	if r := b.state("a").Runner; r != "r2" {
		t.Errorf("after its runner is gone it is on %q", r)
	}
}

func TestConfigureMerges(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 5})
	b := newBench(t, root, agent("a", "root"), agent("b", "root"))
	b.do(Input{Kind: Order, Command: Add, Spec: agent("x", "root")})
	b.took()
	b.do(Input{Kind: Configure, Specs: []*Spec{root, agent("n", "root"), agent("a", "root"), agent("m", "root", func(s *Spec) { s.Restart = Transient })}, Boot: true})
	if got := b.took(); got != "stop b, start n, start m, reply ok, reply ok, remove b, running n, running m" {
		t.Error(got)
	}
	if got := strings.Join(b.tree.Children("root"), " "); got != "n a m x" {
		t.Errorf("order: %s", got)
	}
	if b.state("a").Incarnation != 1 || b.state("x").Incarnation != 1 {
		t.Error("what was there was disturbed")
	}
	b.do(Input{Kind: Order, Command: Add, Spec: agent("b", "root")})
	if inc := b.state("b").Incarnation; inc != 2 {
		t.Errorf("a node of a removed one's name begins with incarnation %d, want 2", inc)
	}
	for _, bad := range [][]*Spec{
		{},
		{agent("root", "")},
		{root, agent("q", "nobody")},
		{root, agent("q", "root"), agent("q", "root")},
		{root, sup("a", "root", Supervisor{})},
		{sup("other", "", Supervisor{})},
		{root, agent("q", "root", func(s *Spec) { s.Significant, s.Restart = true, Transient })},
	} {
		b.took()
		b.do(Input{Kind: Configure, Specs: bad})
		if got := b.took(); got != "reply invalid" {
			t.Errorf("%v: %s", bad, got)
		}
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
		sup("s", "root", Supervisor{Strategy: OneForAll, MaxRestarts: 5}),
		agent("a", "s", func(s *Spec) { s.Backoff = Backoff{Delay: time.Second} }), agent("b", "s"))
	b.took()
	for _, c := range []struct {
		cmd  CommandKind
		node string
		want string
	}{
		{TerminateIt, "a", "stop a, reply ok"},
		{StartChild, "a", "start a, reply ok, running a"},
		{StartChild, "a", "reply running"},
		{RestartIt, "a", "stop a, start a, reply ok, running a"},
		{TerminateIt, "nobody", "reply not_found"},
		{RemoveIt, "root", "reply invalid"},
		{TerminateIt, "s", "stop b, stop a, reply ok"},
		{StartChild, "a", "reply no_supervisor"},
		{RestartIt, "s", "boot s, start a, running a, start b, running b, reply ok"},
		{DeleteChild, "a", "reply running"},
		{RemoveIt, "s", "stop b, stop a, reply ok, remove b, remove a, remove s"},
		{RestartIt, "s", "reply not_found"},
		{TerminateIt, "root", "reply ok"},
		{StartChild, "root", "boot root, reply ok"},
	} {
		b.do(Input{Kind: Order, Command: c.cmd, Node: c.node})
		if got := b.took(); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.cmd, c.node, got, c.want)
		}
	}
}

func TestTerminatingWhatWaitsLetsTheGroupComeBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}),
		agent("a", "root", func(s *Spec) { s.Backoff = Backoff{Delay: time.Second} }), agent("b", "root"))
	b.crash("a")
	b.wantPhase("b", Idle)
	b.do(Input{Kind: Order, Command: TerminateIt, Node: "a"})
	b.after(time.Second)
	b.wantPhase("a", Idle)
	b.wantPhase("b", Running)
	b.crash("b")
	b.wantPhase("a", Running) // the next group restart covers it
}

func TestBusyCommandsWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 5}), agent("a", "root"), agent("b", "root"))
	b.took()
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"}) // b's stop is awaited
	b.raw(Input{Kind: Order, Command: TerminateIt, Node: "b"})
	b.raw(Input{Kind: Order, Command: RestartIt, Node: "b"})
	if got := b.took(); got != "restart a, group root, stop b, reply busy" {
		t.Error(got)
	}
	b.do(Input{Kind: Stopped, Node: "b", Incarnation: 1})
	if got := b.took(); got != "start a, running a, start b, running b, stop b, reply ok" {
		t.Error(got)
	}
}

func TestSuspension(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
		sup("s", "root", Supervisor{MaxRestarts: 5}), agent("a", "s"),
		agent("b", "s", func(s *Spec) { s.Backoff = Backoff{Delay: time.Second} }), agent("z", "root"))
	b.crash("b")
	b.took()
	b.do(Input{Kind: Order, Command: SuspendIt, Node: "a"})
	b.do(Input{Kind: Order, Command: SuspendIt, Node: "s"})
	b.after(time.Second)
	b.crash("a")
	b.crash("z")
	if got := b.took(); got != "reply invalid, reply ok, restart z, start z, running z" {
		t.Errorf("while suspended: %s", got)
	}
	b.do(Input{Kind: Order, Command: ResumeIt, Node: "s"})
	b.after(0)
	if got := b.took(); got != "reply ok, restart a, start a, running a, start b, running b" {
		t.Errorf("resumed: %s", got)
	}
	b.do(Input{Kind: Order, Command: SuspendIt, Node: "root"})
	b.crash("a")
	b.wantPhase("a", Idle)
	b.tree = roundTrip(t, b.tree, Options{})
	b.do(Input{Kind: Order, Command: ResumeIt, Node: "root"})
	b.wantPhase("a", Running)
}

func TestBadSnapshots(t *testing.T) {
	t.Parallel()
	good := func() Snapshot {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), sup("s", "root", Supervisor{}), agent("a", "s"))
		return b.tree.Snapshot()
	}
	for name, spoil := range map[string]func(*Snapshot){
		"no root":        func(s *Snapshot) { delete(s.Nodes, "root") },
		"two roots":      func(s *Snapshot) { s.Nodes["s"].Spec.Parent = "" },
		"no spec":        func(s *Snapshot) { s.Nodes["a"].Spec = nil },
		"nil record":     func(s *Snapshot) { s.Nodes["a"] = nil },
		"cycle":          func(s *Snapshot) { s.Nodes["root"].Spec.Parent = "s" },
		"under an agent": func(s *Snapshot) { s.Nodes["s"].Spec.Parent = "a" },
		"other name":     func(s *Snapshot) { s.Nodes["b"] = s.Nodes["a"] },
		"no state":       func(s *Snapshot) { s.Nodes["s"].State.Supervisor = nil },
	} {
		s := good()
		spoil(&s)
		if _, err := Load(Options{}, s); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if _, err := Load(Options{}, good()); err != nil {
		t.Error(err)
	}
}

// BenchmarkRestart is one exit decided and its start acknowledged: two inputs.
func BenchmarkRestart(b *testing.B) {
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 1 << 40})}
	names := make([]string, 1000)
	for i := range names {
		names[i] = "agent-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		specs = append(specs, agent(names[i], "root"))
	}
	specs[0].Supervisor.Period = 1 // ns: the window stays short
	t := newBench(b, specs...).tree
	var out []Effect
	var changes []Change
	inc := uint64(1)
	now := epoch
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(names) == 0 && i > 0 {
			inc++
		}
		id := names[i%len(names)]
		now += 10
		out = t.Step(&Input{Kind: Exited, Node: id, Incarnation: inc, Reason: "crash"}, now, out[:0])
		out = t.Step(&Input{Kind: Started, Node: id, Incarnation: inc + 1}, now, out[:0])
		if i%256 == 0 {
			changes = t.Changes(changes[:0])
		}
	}
	b.ReportMetric(float64(b.N)*2/b.Elapsed().Seconds(), "inputs/s")
}
