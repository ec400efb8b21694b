package tree

import (
	"testing"
	"time"
)

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
		{"no beat", func(b *bench) { b.after(10 * time.Second) }, "report a", Unverified},
		{"unwell", func(b *bench) {
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1})
			b.do(Input{Kind: Beat, Node: "a", Incarnation: 1, Unwell: true})
			b.after(time.Second / 2)
		}, "report a", Unverified},
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
