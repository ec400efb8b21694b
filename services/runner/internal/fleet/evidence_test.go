package fleet

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// How long an agent lived and what it used is in the event about its end, in the
// list and in the answer to a stop, whichever process its parent is, and also when
// what it left behind is ended first.
func TestEndsTellWhatWasUsed(t *testing.T) {
	t.Parallel()
	for _, by := range []parent{byReaper, byRunner} {
		t.Run("started "+string(by), func(t *testing.T) {
			t.Parallel()
			r := openBy(t, t.TempDir(), by)
			const spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
			r.mustStart(t, script("fails", 1, "(setsid sleep 1000 3>&- &); "+spin+"; ("+spin+"); sleep 0.2; exit 3"))
			r.mustStart(t, script("stops", 1, spin+"; echo up; "+forever))
			failed := data[contracts.AgentFailedData](t, r.eventsOf(t, "fails", 2)[1]).Exit
			r.outputOf(t, "stops")
			stopped := r.Stop(t.Context(), contracts.StopCommand{Agent: "stops", Incarnation: 1}).Exit
			for _, exit := range []*contracts.Exit{failed, stopped} {
				if exit == nil || exit.Used == nil || exit.Used.User.D() < 10*time.Millisecond || exit.Lived < exit.Used.User {
					t.Errorf("exit %+v, used %+v", exit, exit.Used)
				}
			}
			if failed.Lived.D() < 200*time.Millisecond || failed.Lived.D() > 2*patience {
				t.Errorf("lived for %s", failed.Lived)
			}
			for _, a := range r.List() {
				if a.Exit == nil || a.Exit.Used == nil || a.Exit.Lived == 0 {
					t.Errorf("listed: %+v", a)
				}
			}
		})
	}
}
