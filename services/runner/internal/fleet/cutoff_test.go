package fleet

import (
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// What a runner ends because it is cut off is the host's doing, also when it is
// killed meanwhile and a successor continues.
func TestCutOff(t *testing.T) {
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
	if n := r.CutOff("runner r1 was cut off for 60s"); n != 1 {
		t.Errorf("%d agents are ended", n)
	}
	if n := r.CutOff("again"); n != 0 {
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
