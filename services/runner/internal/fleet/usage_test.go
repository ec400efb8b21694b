package fleet

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.mustStart(t, script("busy", 1, "(while :; do :; done) & echo up; while :; do :; done"))
	r.mustStart(t, script("idle", 1, "echo up; "+forever))
	r.mustStart(t, script("gone", 1, "exit 3"))
	r.eventsOf(t, "gone", 2)
	r.outputOf(t, "busy")
	r.outputOf(t, "idle")
	usage := func() map[string]*contracts.Usage {
		list := r.List()
		for _, a := range list {
			if a.Usage != nil {
				t.Errorf("not asked for: %+v", a)
			}
		}
		r.AddUsage(list)
		of := map[string]*contracts.Usage{}
		for _, a := range list {
			of[a.Agent] = a.Usage
		}
		return of
	}
	eventually(t, "processor time", func() bool { return usage()["busy"].CPU.D() >= 50*time.Millisecond })
	of := usage()
	busy, idle := of["busy"], of["idle"]
	if of["gone"] != nil || busy.Processes != 2 || busy.Memory < 100<<10 || busy.Memory > 100<<20 || busy.Uptime <= 0 {
		t.Errorf("busy %+v, gone %+v", busy, of["gone"])
	}
	if idle == nil || idle.CPU >= busy.CPU || idle.Processes < 1 || idle.Uptime.D() > 2*patience {
		t.Errorf("idle %+v, busy %+v", idle, busy)
	}
}
