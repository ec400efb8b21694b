package fleet

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// What a runner ends without an order is the host's doing, also when it is killed
// meanwhile and a successor continues.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	slow := script("slow", 1, `trap 'sleep 0.5; exit 4' TERM; echo up; while :; do sleep 0.1; done`)
	slow.ShutdownTimeout = contracts.Duration(patience)
	ordered := script("ordered", 1, forever)
	r := open(t, dir)
	r.mustStart(t, slow)
	r.mustStart(t, ordered)
	r.outputOf(t, "slow")
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "ordered", Incarnation: 1}); reply.Code != contracts.RunnerOK {
		t.Fatalf("%+v", reply)
	}
	if n := r.Withdraw("runner r1 was cut off for 60s"); n != 1 {
		t.Errorf("%d agents are ended", n)
	}
	if n := r.Withdraw("again"); n != 0 {
		t.Errorf("%d agents are ended again", n)
	}
	r.leave(t, false) // before it has ended

	again := open(t, dir)
	got := data[contracts.AgentFailedData](t, again.eventsOf(t, "slow", 1)[0])
	if got.Reason != contracts.ReasonHostLost || got.Exit == nil || got.Exit.Blame != contracts.BlameHost {
		t.Errorf("told %+v", got)
	}
	again.mustStart(t, script("slow", 2, forever))
}

// Who ended an agent is decided before how it ended, for every way to end and for
// each of those that end agents.
func TestWhoEndedItComesBeforeHow(t *testing.T) {
	t.Parallel()
	ways := map[string]string{
		"well":     `trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done`,
		"badly":    `trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done`,
		"bysignal": `echo up; exec sleep 60`,
		"bykill":   `trap '' TERM; echo up; while :; do sleep 0.1; done`,
	}
	for name, c := range map[string]struct {
		end  func(r *rig) error
		want contracts.Blame
	}{
		"its runner, cut off": {func(r *rig) error { r.Withdraw("runner r1 was cut off for 60s"); return nil }, contracts.BlameHost},
		"its runner's end":    {func(r *rig) error { return r.WithdrawAll(t.Context()) }, contracts.BlameHost},
		"an order": {func(r *rig) error {
			for name := range ways {
				if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: name, Incarnation: 1}); reply.Code != contracts.RunnerOK {
					return errors.New(reply.Error)
				}
			}
			return nil
		}, contracts.BlameOrder},
		"an order, and then its runner's end": {func(r *rig) error {
			for name := range ways { // given, and not waited for
				a := r.agent(name)
				a.mu.Lock()
				r.order(a, contracts.StopCommand{Agent: name, Incarnation: 1})
				a.mu.Unlock()
			}
			return r.WithdrawAll(t.Context())
		}, contracts.BlameOrder},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, t.TempDir())
			for name, text := range ways {
				cmd := script(name, 1, text)
				cmd.ShutdownTimeout = contracts.Duration(time.Second)
				r.mustStart(t, cmd)
				r.outputOf(t, name)
			}
			if err := c.end(r); err != nil {
				t.Fatal(err)
			}
			for name := range ways {
				ev := r.eventsOf(t, name, 2)[1]
				if c.want == contracts.BlameOrder {
					if got := data[contracts.AgentStoppedData](t, ev); ev.Type != contracts.AgentStopped || got.Reason != contracts.StopRequested || got.Exit.Blame != c.want {
						t.Errorf("%s: %s %+v", name, ev.Type, got)
					}
					continue
				}
				got := data[contracts.AgentFailedData](t, ev)
				if ev.Type != contracts.AgentFailed || got.Reason != contracts.ReasonHostLost || got.Exit.Blame != c.want || !strings.HasPrefix(got.Detail, "runner r1 was ") {
					t.Errorf("%s: %s %+v", name, ev.Type, got)
				}
			}
		})
	}
}

// An agent that ended by itself did so, whatever its runner did then.
func TestEndBeforeItsRunnersIsTheAgents(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.mustStart(t, script("a", 1, "exit 0"))
	r.eventsOf(t, "a", 2)
	r.mustStart(t, script("left", 1, `sh -c 'trap "sleep 0.3; exit" TERM; echo up; while :; do sleep 0.1; done' & sleep 0.3; exit 5`))
	a := r.agent("left")
	eventually(t, "the end of its program", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.rec.Exit != nil
	})
	if err := r.WithdrawAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := data[contracts.AgentStoppedData](t, r.eventsOf(t, "a", 2)[1]); got.Reason != contracts.StopCompleted {
		t.Errorf("%+v", got)
	}
	if got := data[contracts.AgentFailedData](t, r.eventsOf(t, "left", 2)[1]); got.Reason != contracts.ReasonExited || got.Exit.Code != 5 {
		t.Errorf("%+v", got)
	}
}
