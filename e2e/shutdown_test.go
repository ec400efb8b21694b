package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const slowToStop = `
supervision_tree:
  shutdown: {drain_timeout: 1s}
  tree:
    - name: stack
      strategy: rest_for_one
      children:
        - {name: db, command: [sh, -c, "trap 'echo db stops >>FILE; exit 0' TERM; echo db runs >>FILE; while :; do sleep 0.1; done"], heartbeats: runner}
        - name: app
          command: [sh, -c, "trap 'echo app stops >>FILE; sleep 4; echo app has ended >>FILE; exit 0' TERM; echo app runs >>FILE; while :; do sleep 0.1; done"]
          heartbeats: runner
          shutdown_timeout: 20s
`

// waitText waits until a file ends with a text.
func waitText(t *testing.T, file, text string) {
	t.Helper()
	eventually(t, 20*time.Second, file+" to end with "+text, func() bool {
		b, _ := os.ReadFile(file)
		return strings.HasSuffix(string(b), text)
	})
}

// TestAGroupStopsInOrderWithTheService: real processes, of which one takes longer to end
// than work in flight may.
func TestAGroupStopsInOrderWithTheService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stops")
	p, _ := up(t, filepath.Join(dir, "store"), strings.ReplaceAll(slowToStop, "FILE", file))
	waitText(t, file, "db runs\napp runs\n")
	p.Stop()
	text, err := os.ReadFile(file)
	if want := "db runs\napp runs\napp stops\napp has ended\ndb stops\n"; err != nil || string(text) != want {
		t.Errorf("%q, want %q: %v", text, want, err)
	}
	for _, untrue := range []string{"not stopped", "WRN"} {
		if out := p.output.Tail(64 << 10); strings.Contains(out, untrue) {
			t.Errorf("it says %q:\n%s", untrue, out)
		}
	}
}

// TestASecondSignalEndsAtOnce: smith up says which agents it leaves, and the next one
// takes them over.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stops")
	config := strings.ReplaceAll(slowToStop, "FILE", file)
	p, _ := up(t, filepath.Join(dir, "store"), config)
	waitText(t, file, "db runs\napp runs\n")
	p.Signal(syscall.SIGINT)
	waitText(t, file, "app stops\n")
	eventually(t, 10*time.Second, "the second signal to end it", func() bool {
		p.Signal(syscall.SIGINT) // one that comes soon counts as the first
		select {
		case <-p.exited:
			return true
		default:
			return false
		}
	})
	const want = "smith: ended at once; 2 agents still running: app, db; the next smith up with this store takes them over"
	if out := p.output.Tail(64 << 10); !strings.Contains(out, want) {
		t.Errorf("it does not say %q:\n%s", want, out)
	}
	p, _ = up(t, filepath.Join(dir, "store"), config)
	if out := p.output.Tail(64 << 10); !strings.Contains(out, "agent adopted") {
		t.Errorf("nothing is taken over:\n%s", out)
	}
}
