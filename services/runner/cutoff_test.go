package runner

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

func TestCutoff(t *testing.T) {
	at := func(s int) uint64 { return procfs.ToTicks(time.Duration(s) * time.Second) }
	c := cutoff{limit: 10 * time.Second, heard: at(100)}
	for _, step := range []struct {
		second  int
		reached bool
		over    bool
	}{
		{101, false, false}, {109, false, false}, {109, true, false}, // back in time
		{118, false, false}, {119, false, true}, {120, false, false}, // told once
		{130, true, false}, {135, false, false}, {1000, false, true}, // the host slept
		{50, false, false}, // no clock goes back, and none is trusted to
	} {
		if _, over := c.look(step.reached, at(step.second)); over != step.over {
			t.Errorf("second %d, reached %t: %t", step.second, step.reached, over)
		}
	}
}
