package restart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// asBareLoop makes this test binary the floor.
const asBareLoop = "BENCH_BARE_LOOP"

func TestMain(m *testing.M) {
	if os.Getenv(asBareLoop) != "" {
		fmt.Fprintln(os.Stderr, bareLoop(os.Args[1], os.Args[2]))
		os.Exit(1)
	}
	natstest.Isolate()
	os.Exit(m.Run())
}

// build returns a program of the project, built for this run.
func build(b *testing.B, name string) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), name)
	if msg, err := exec.Command("go", "build", "-o", out, "../../cmd/"+name).CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", name, err, msg)
	}
	return out
}

// agent is the name of one process of a peer.
func agent(i int) string { return fmt.Sprintf("a%d", i) }

// command is what each process runs: it says its name and pid, and sleeps.
func command(name, fifo string) []string {
	return []string{"/bin/sh", "-c", `echo $0 $$ >"$1"; exec sleep 1000`, name, fifo}
}
