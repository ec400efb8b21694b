package tree

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

func anywhere(change ...func(*Agent)) func(*Spec) {
	return func(s *Spec) {
		s.Agent.Runner = AnyRunner
		s.Backoff = backoff.Delays{Type: backoff.Fixed, Delay: time.Minute}
		for _, f := range change {
			f(s.Agent)
		}
	}
}

func pinned(runner string) func(*Spec) { return func(s *Spec) { s.Agent.Runner = runner } }

func (b *bench) runners(names ...string) {
	var all []Runner
	for _, n := range names {
		all = append(all, Runner{Name: n})
	}
	b.do(Input{Kind: Runners, Runners: all})
}

func (b *bench) lose(agent string) {
	b.do(Input{Kind: Lost, Node: agent, Incarnation: b.state(agent).Incarnation, Reason: "host_lost", Event: "e-" + agent})
}

func (b *bench) wantOn(id, runner string, incarnation uint64) {
	b.t.Helper()
	if st := b.state(id); st.Phase != Running || st.Runner != runner || st.Incarnation != incarnation {
		b.t.Errorf("%s: %s #%d on %q (%s), want running #%d on %q; done: %v", id, st.Phase, st.Incarnation, st.Runner, st.Why, incarnation, runner, b.done)
	}
}

// The agents of a lost runner start elsewhere at once: that costs nothing of
// their supervisor's limit, and no backoff.
func TestLostAgentsMove(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 1}),
		agent("a", "root", anywhere()), agent("b", "root", anywhere()), agent("c", "root", anywhere()), agent("p", "root", pinned("r1")))
	b.runners("r1")
	b.runners("r2", "r3")
	for _, id := range []string{"a", "b", "c", "p"} {
		b.wantPhase(id, Running)
		b.lose(id)
	}
	b.wantOn("a", "r2", 2)
	b.wantOn("b", "r3", 2)
	b.wantOn("c", "r2", 2)
	if st := b.state("p"); st.Phase != Unplaced || st.Incarnation != 2 {
		t.Errorf("pinned: %+v", st)
	}
	if w := b.state("root").Supervisor.Window; len(w) > 0 {
		t.Errorf("it counts against the limit: %v", w)
	}
	for id, want := range map[string]bool{"a": true, "p": true, "root": false} {
		if got := b.tree.Stale(id, 1, "r1"); got != want {
			t.Errorf("%s 1 on r1: stale is %v", id, got)
		}
	}
	b.runners("r1", "r2", "r3")
	b.wantOn("a", "r2", 2)
	b.wantOn("p", "r1", 2)
	if b.tree.Stale("p", 2, "r1") || !b.tree.Stale("a", 2, "r1") || b.tree.Stale("a", 3, "r1") || b.tree.Stale("nobody", 1, "r1") {
		t.Error("stale")
	}
	// A word about the old incarnation changes nothing.
	b.do(Input{Kind: Lost, Node: "a", Incarnation: 1})
	b.do(Input{Kind: Exited, Node: "a", Incarnation: 1})
	b.wantOn("a", "r2", 2)
}

// Whatever a stop was for goes on when the runner that was to confirm it is
// lost.
func TestLostWhileStopping(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		order Input
		want  Phase
		reply string
	}{
		"verdict":   {Input{Kind: Failed, Node: "a", Incarnation: 1, Event: "v"}, Starting, ""},
		"restart":   {Input{Kind: Order, Command: CmdRestart, Node: "a"}, Starting, ""},
		"terminate": {Input{Kind: Order, Command: CmdTerminate, Node: "a"}, Idle, "reply ok"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 0}), agent("a", "root", anywhere()))
			b.runners("r1")
			b.raw(c.order)
			b.wantPhase("a", Stopping)
			b.runners("r2")
			b.took()
			b.raw(Input{Kind: Lost, Node: "a", Incarnation: 1, Reason: "host_lost", Event: "l"})
			b.wantPhase("a", c.want)
			if st := b.state("a"); c.want == Starting && (st.Runner != "r2" || st.Incarnation != 2) {
				t.Errorf("%+v", st)
			}
			if got := b.took(); c.reply != "" && got != c.reply {
				t.Errorf("%s", got)
			}
		})
	}
}

// A group goes through with its restart though one of it cannot confirm its
// end.
func TestLostInAGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{Strategy: OneForAll, MaxRestarts: 3}),
		agent("a", "root", pinned("r1")), agent("b", "root", anywhere()), agent("c", "root", anywhere()))
	b.runners("r1")
	b.runners("r1", "r2")
	b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
	b.wantPhase("c", Stopping)
	b.do(Input{Kind: Lost, Node: "c", Incarnation: 1, Reason: "host_lost"})
	for _, id := range []string{"a", "b", "c"} {
		b.wantPhase(id, Running)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}), agent("a", "root", anywhere(func(a *Agent) { a.Labels = map[string]string{"gpu": "yes", "zone": "b"} })))
	set := func(labels map[string]string) {
		b.do(Input{Kind: Runners, Runners: []Runner{{Name: "r1"}, {Name: "r2", Labels: labels}}})
	}
	set(map[string]string{"gpu": "yes"})
	b.wantPhase("a", Unplaced)
	set(map[string]string{"gpu": "yes", "zone": "a"})
	b.wantPhase("a", Unplaced)
	set(map[string]string{"gpu": "yes", "zone": "b", "disk": "fast"})
	b.wantOn("a", "r2", 1)
}

// What happens when the host is back is a choice.
func TestReturn(t *testing.T) {
	t.Parallel()
	b := newBench(t, sup("root", "", Supervisor{}),
		agent("stays", "root", anywhere()), agent("returns", "root", anywhere(func(a *Agent) { a.Return = true })))
	b.runners("r1")
	b.runners("r2")
	b.lose("stays")
	b.lose("returns")
	b.wantOn("returns", "r2", 2)
	b.tree = roundTrip(t, b.tree, Options{})
	b.runners("r1", "r2")
	b.wantOn("stays", "r2", 2)
	b.wantOn("returns", "r1", 3)
	b.runners("r2")
	b.runners("r1", "r2")
	b.wantOn("returns", "r1", 3)
}

// An agent that was not running when its host came back goes there with its
// next start, even if another runner has less to do.
func TestReturnLater(t *testing.T) {
	t.Parallel()
	home := func(a *Agent) { a.Return = true }
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), agent("x", "root", anywhere(home)), agent("y", "root", pinned("r1")))
	b.runners("r1")
	b.runners("r2")
	b.lose("x")
	b.crash("x")
	b.wantPhase("x", Waiting)
	b.runners("r1", "r2")
	b.after(time.Minute)
	b.wantOn("x", "r1", 3)
}
