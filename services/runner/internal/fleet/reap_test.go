package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

// As a sub-reaper, or as the first process of a container, a runner gets what
// its agents leave behind. It reaps that, and no agent's status.
func TestOrphansAreReapedAndStatusesKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runner := startRemote(t, dir)
	const orphans, agents = 40, 30
	runner.start(script("messy", 1, fmt.Sprintf(`i=0; while [ $i -lt %d ]; do (sleep 0 &); (setsid sleep 0 &); i=$((i+1)); done; echo >made; exec sleep 1000`, orphans)))
	for i := range agents {
		runner.start(script(fmt.Sprint("exits", i), 1, "exit 7"))
	}
	for i := range agents {
		name := fmt.Sprint("exits", i)
		var rec ledger.Record
		eventually(t, "the end of "+name, func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, "agents", name, "record.json"))
			rec, _ = ledger.Decode(b)
			return rec.State == ledger.Exited
		})
		if rec.Exit.Unknown || rec.Exit.Code != 7 {
			t.Errorf("%s: exit %+v", name, rec.Exit)
		}
	}
	eventually(t, "the orphans", func() bool {
		_, err := os.Stat(filepath.Join(dir, "made"))
		return err == nil
	})
	eventually(t, "the orphans' reaping", func() bool {
		// The kernel lists children with the thread that started them.
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", runner.cmd.Process.Pid))
		left := 0
		for _, list := range lists {
			b, _ := os.ReadFile(list) // the thread may have ended
			left += len(strings.Fields(string(b)))
		}
		return err == nil && left == 1 // messy itself
	})
}
