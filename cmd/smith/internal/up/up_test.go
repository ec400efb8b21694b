package up

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mistersmith/mistersmith/internal/shell"
)

// TestWaitReady: a service that is not ready in time is named with what it waits for.
func TestWaitReady(t *testing.T) {
	for why, want := range map[string]string{"": "not ready after 30s", "no room": "not ready after 30s: no room"} {
		synctest.Test(t, func(t *testing.T) {
			health := shell.NewHealth("s")
			if why != "" {
				health.Awaits("s", why)
			}
			if err := waitReady(t.Context(), health, "s", nil); err == nil || err.Error() != want {
				t.Errorf("%v, want %q", err, want)
			}
			health.Ready("s")
			if err := waitReady(t.Context(), health, "s", nil); err != nil || strings.Contains(health.Why("s"), "room") {
				t.Errorf("when it is ready: %v, %q", err, health.Why("s"))
			}
		})
	}
}
