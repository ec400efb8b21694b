package tree

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

func inMode(m Mode) func(*Spec) {
	return func(s *Spec) { r := RolloutOf(m); s.Mode = &r }
}

func with(s *Spec, change ...func(*Spec)) *Spec {
	for _, f := range change {
		f(s)
	}
	return s
}

func (b *bench) mode(id string, m Mode) {
	b.t.Helper()
	r := RolloutOf(m)
	b.do(Input{Kind: Order, Command: CmdMode, Node: id, Mode: &r})
}

func (b *bench) silent(id string) {
	b.do(Input{Kind: Failed, Node: id, Reason: "heartbeat_timeout", Event: "e"})
}

func (b *bench) want(what, want string) {
	b.t.Helper()
	if got := b.took(); got != want {
		b.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// TestShadowProposes: agents that somebody else keeps are watched, their
// failures become proposals, once each, and nothing is ever ordered.
func TestShadowProposes(t *testing.T) {
	t.Parallel()
	b := newBench(t, with(sup("root", "", Supervisor{MaxRestarts: 9}), inMode(Shadow)), agent("a", "root"), agent("z", "root", func(s *Spec) { s.Restart = Temporary }))
	b.want("boot", "boot root, reply ok")
	b.wantPhase("a", Watched)
	b.silent("a")
	b.silent("a")
	b.want("silence, told twice", "propose a")
	b.do(Input{Kind: SeenAlive, Node: "a"})
	b.silent("a")
	b.silent("z")
	b.want("again; a temporary one", "propose a")
	for _, c := range []CommandKind{CmdRestart, CmdTerminate, CmdStart} {
		b.do(Input{Kind: Order, Command: c, Node: "a"})
	}
	b.want("orders", "reply not_enforced, reply not_enforced, reply not_enforced")
	b.mode("root", Off)
	b.do(Input{Kind: SeenAlive, Node: "a"})
	b.silent("a")
	b.want("off", "mode root, reply ok")
	b.do(Input{Kind: Order, Command: CmdRemove, Node: "z"})
	b.want("removed", "reply ok, remove z")
}

// TestProposalsGoUp: a limit that would be exceeded is proposed with all that
// follows above, and no enforced sibling is touched.
func TestProposalsGoUp(t *testing.T) {
	t.Parallel()
	b := newBench(t,
		sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 1}), agent("live", "root"),
		with(sup("p", "root", Supervisor{MaxRestarts: 1}), inMode(Shadow)), agent("a", "p"),
	)
	b.took()
	for range 2 {
		b.silent("a")
		b.do(Input{Kind: SeenAlive, Node: "a"})
	}
	b.want("twice, one allowed", "propose a, propose p, propose p, propose live")
	b.wantPhase("live", Running)
	if st := b.state("root"); len(st.Supervisor.Window) > 0 || b.state("live").Incarnation != 1 {
		t.Errorf("something real came of proposals: %+v", st.Supervisor)
	}
}

// TestEscalationIsContained: an agent that is enforced below a supervisor that
// is not stops with it, and goes no further.
func TestEscalationIsContained(t *testing.T) {
	t.Parallel()
	for _, strategy := range []Strategy{OneForOne, Escalate} {
		b := newBench(t,
			sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("live", "root"),
			with(sup("p", "root", Supervisor{Strategy: strategy}), inMode(Shadow)), agent("a", "p", inMode(Enforce)), agent("b", "p"),
		)
		b.took()
		b.crash("a")
		b.want("beyond the limit", "propose p, terminate p, down p")
		b.wantPhase("live", Running)
		b.wantPhase("b", Watched)
		if st := b.state("p"); st.Phase != Idle || st.End != EndGaveUp {
			t.Errorf("p is %s, %s", st.Phase, st.Why)
		}
	}
}

// TestMixedGroup: a group restart covers those that are enforced, and tells
// what it would do with the others; a failure of those does nothing.
func TestMixedGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 9}), agent("a", "root"), agent("b", "root", inMode(Shadow)), agent("c", "root"))
	b.want("boot", "boot root, start a, reply ok, running a, start c, running c")
	b.crash("c")
	b.want("an enforced one fails", "restart c, group root, propose b, stop a, start a, running a, start c, running c")
	b.silent("b")
	b.want("one in shadow fails", "propose b, propose a, propose c")
}

// TestTakingUp: whoever runs elsewhere is left alone until it ends.
func TestTakingUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, with(sup("root", "", Supervisor{MaxRestarts: 9}), inMode(Shadow)), agent("a", "root"), agent("b", "root"))
	b.took()
	b.mode("root", Enforce)
	b.want("nothing yet", "mode root, reply ok")
	b.do(Input{Kind: Beat, Node: "a"})
	b.want("a beats", "foreign a")
	b.after(DefaultListen)
	b.want("b does not", "start b, running b")
	b.after(foreignPeriods * DefaultListen)
	b.wantPhase("a", Claiming)
	b.do(Input{Kind: Beat, Node: "a"})
	b.want("it is listened for again", "foreign a")
	b.do(Input{Kind: Order, Command: CmdRestart, Node: "a"})
	b.want("an order", "reply not_enforced")
	b.silent("a")
	b.after(DefaultListen - 1)
	b.want("a falls silent", "")
	b.after(1)
	b.want("and stays so", "start a, running a")
}

// TestLateBeatOfAHungAgent: a heartbeat that comes after the verdict on silence
// is no proof that an agent lives. It has to prove itself, or is replaced.
func TestLateBeatOfAHungAgent(t *testing.T) {
	t.Parallel()
	for _, verified := range []bool{true, false} {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root", func(s *Spec) {
			s.Agent.Verify, s.Agent.StartDeadline = verified, time.Second
		}))
		b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
		b.mode("root", Shadow)
		b.mode("root", Enforce)
		b.silent("a")
		b.took()
		b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
		b.after(DefaultListen)
		if verified {
			b.want("it is verified anew, and is not", "start a, report a")
		} else {
			b.want("it is replaced", "stop a, start a, running a")
		}
	}
}

// TestLettingGo: what runs runs on and is found again; what was under way is
// proposed, or settled before anything else starts.
func TestLettingGo(t *testing.T) {
	t.Parallel()
	slow := func(s *Spec) { s.Backoff = backoff.Delays{Delay: time.Minute} }
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), agent("own", "root"), agent("plain", "root"), agent("waits", "root", slow), agent("stops", "root"), agent("dead", "root"))
	b.crash("waits")
	b.raw(Input{Kind: Failed, Node: "stops", Incarnation: 1, Reason: "silent"})
	b.took()
	b.mode("root", Shadow)
	b.want("let go", "mode root, propose waits, propose stops, reply ok")
	for _, id := range []string{"own", "plain", "waits", "stops", "dead"} {
		b.wantPhase(id, Watched)
	}
	b.crash("dead")
	b.want("its process ends", "propose dead")
	b.mode("root", Enforce)
	b.want("taken up", "mode root, reply ok")
	b.do(Input{Kind: Beat, Node: "own", Incarnation: 1})
	b.want("the same process", "running own")
	b.do(Input{Kind: Beat, Node: "plain"})
	b.want("it tells no number: its runner knows", "start plain, running plain")
	if inc := b.state("plain").Incarnation; inc != 1 {
		t.Errorf("plain was started as incarnation %d", inc)
	}
	b.after(DefaultListen)
	b.want("of the others nothing is heard", "start dead, stop stops, start waits, running dead, running waits")
	b.after(DefaultListen)
	b.want("settled", "start stops, running stops")
	for id, want := range map[string]uint64{"own": 1, "dead": 2, "stops": 2, "waits": 2} {
		if st := b.state(id); st.Incarnation != want || st.Phase != Running {
			t.Errorf("%s is %s as incarnation %d, want %d", id, st.Phase, st.Incarnation, want)
		}
	}
}

// TestShareGrows: a larger share takes up more and lets nobody go.
func TestShareGrows(t *testing.T) {
	t.Parallel()
	specs := []*Spec{with(sup("root", "", Supervisor{MaxRestarts: 9}), func(s *Spec) { s.Mode = &Rollout{Enforce: 25, Otherwise: Shadow} })}
	for i := range 40 {
		specs = append(specs, agent(Instance("w", i+1), "root"))
	}
	b := newBench(t, specs...)
	running := func() (n int) {
		for _, s := range specs[1:] {
			if b.state(s.ID).Phase == Running {
				n++
			}
		}
		return n
	}
	before := running()
	b.took()
	b.do(Input{Kind: Order, Command: CmdMode, Node: "root", Mode: &Rollout{Enforce: 60, Otherwise: Shadow}})
	if running() != before {
		t.Error("somebody was let go")
	}
	b.after(DefaultListen)
	if after := running(); before == 0 || after <= before || after == 40 {
		t.Errorf("of 40, %d and then %d are enforced", before, after)
	}
	if modes := b.tree.Modes(); modes[Enforce] != running() || modes[Shadow] != 40-running() || modes[Off] != 0 {
		t.Errorf("counted are %v, while %d run", modes, running())
	}
}

// TestSettingsLast: a setting made at run time survives a restart and a
// configuration read again, not one that gives the node another mode.
func TestSettingsLast(t *testing.T) {
	t.Parallel()
	root, a := sup("root", "", Supervisor{MaxRestarts: 9}), agent("a", "root")
	b := newBench(t, root, a)
	b.mode("root", Shadow)
	raw, err := json.Marshal(b.tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if b.tree, err = Load(Options{}, s); err != nil {
		t.Fatal(err)
	}
	b.took()
	b.do(Input{Kind: Configure, Specs: []*Spec{root, a}, Boot: true})
	b.silent("a")
	b.want("another supervisor", "reply ok, propose a")
	r := *root
	r.Mode = &Rollout{Otherwise: Off}
	b.do(Input{Kind: Configure, Specs: []*Spec{&r, a}, Boot: true})
	if m := b.tree.Mode("a"); m != Off {
		t.Errorf("configured as off it is %s", m)
	}
	b.mode("root", Shadow)
	b.do(Input{Kind: Order, Command: CmdMode, Node: "root"})
	if got, own, ordered := b.tree.Rollout("root"); got != RolloutOf(Off) || !own || ordered {
		t.Errorf("taken back it is %v, own %t, ordered %t", got, own, ordered)
	}
	b.took()
	b.do(Input{Kind: Order, Command: CmdMode, Node: "root", Mode: &Rollout{Enforce: 101}})
	b.do(Input{Kind: Order, Command: CmdMode, Node: "nobody"})
	b.want("mistakes", "reply invalid, reply not_found")
}

// TestQueuedBeat: a heartbeat that came in time, and is taken into account after
// the end of the listening because much else was to be decided, counts.
func TestQueuedBeat(t *testing.T) {
	t.Parallel()
	b := newBench(t, with(sup("root", "", Supervisor{MaxRestarts: 9}), inMode(Shadow)), agent("a", "root"))
	b.mode("root", Enforce)
	b.took()
	b.now = b.now.Add(DefaultListen + time.Second)
	b.raw(Input{Kind: Tick})
	b.raw(Input{Kind: Beat, Node: "a"})
	b.want("a tick and a beat", "foreign a")
}

// TestTakingUpWhatIsDown: also an agent that was down for its supervisor all the
// while that it was not enforced may run elsewhere by now.
func TestTakingUpWhatIsDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9}),
		agent("first", "root", func(s *Spec) { s.Agent.Verify = true }), agent("then", "root", inMode(Shadow)),
		sup("later", "root", Supervisor{}), agent("last", "later"))
	b.wantPhase("then", Idle) // first has not beaten yet
	b.mode("then", Enforce)
	b.mode("later", Off)
	b.do(Input{Kind: Order, Command: CmdAdd, Node: "added", Spec: agent("added", "later"), Reason: "test"})
	b.mode("later", Enforce)
	b.took()
	b.do(Input{Kind: Beat, Node: "first", Incarnation: 1})
	b.want("first is up", "running first")
	b.wantPhase("then", Claiming)
	b.do(Input{Kind: Beat, Node: "then"})
	b.want("then runs elsewhere", "foreign then, boot later")
	for _, id := range []string{"last", "added"} {
		b.wantPhase(id, Claiming)
	}
}
