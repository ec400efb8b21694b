package watch

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// Whatever a heartbeat says, an agent that beats and is not past the time it
// gave itself is healthy, and the evidence can be told.
func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(``), []byte(`{"interval":"1s","seq":2,"incarnation":3}`))
	f.Add([]byte(`{"busy_until":"9999-12-31T23:59:59Z","progress":18446744073709551615}`), []byte(`{"seq":18446744073709551615}`))
	f.Add([]byte(`{"busy_until":"0001-01-01T00:00:00Z","interval":"1h"}`), []byte(`{"interval":"10ms","status":"stopping"}`))
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		core, err := fleet.New(fleet.Config{})
		if err != nil {
			t.Fatal(err)
		}
		now := fleet.Instant(1)
		for i := range 100 {
			h, err := contracts.DecodeHeartbeat([][]byte{one, two}[i%2])
			if err != nil {
				continue
			}
			b := (&Watcher{origin: time.Now().Add(-now)}).beatOf("a", &h)
			for _, fd := range core.Beat(now, b) {
				if fd.Kind == fleet.Failed && (!b.Busy || b.BusyUntil > now) {
					t.Fatalf("failed on a heartbeat: %+v", fd)
				}
			}
			now += time.Second
			wall = wall.Add(time.Second)
			core.Tick(now)
			if v, known := core.Agent(now, "a"); known {
				_ = agentView(v, wall)
			}
		}
	})
}
