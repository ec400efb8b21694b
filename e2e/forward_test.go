package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/capture"
)

const forwardConfig = `
supervision_tree:
  runner:
    output: {forward: stdout, max_bytes: 1MiB}
  tree:
    - {name: flood, heartbeats: runner, command: ["sh", "-c", "while :; do echo out; echo err >&2; done"]}
    - {name: quiet, heartbeats: runner, command: ["sh", "-c", "printf 'one line\\033\\n'; exec sleep 1000"]}
`

// TestForwardedOutput: what agents print comes out of smith up as lines of JSON, after
// the line that says that it is ready. A reader that pauses is told how much it has
// missed. One that is gone ends nothing.
func TestForwardedOutput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(forwardConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr capture.Buffer
	cmd := exec.Command(bin("smith"), "up", "--listen", "127.0.0.1:0", "--store-dir", t.TempDir(), "--config", file)
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(stderr.Tail(4 << 10))
		}
	})
	in := bufio.NewReader(stdout)
	first, err := in.ReadBytes('\n')
	url, ready := bytes.CutPrefix(first, []byte("ready "))
	if err != nil || !ready {
		t.Fatalf("the first line: %q, %v", first, err)
	}
	smith := func(args ...string) string {
		out, _, _ := run(t, []string{"NATS_URL=" + string(bytes.TrimSpace(url))}, bin("smith"), args...)
		return out
	}

	// Nobody reads: the agents print on, and are supervised.
	last := func() (at time.Time) {
		var line struct{ Time time.Time }
		_ = json.Unmarshal([]byte(smith("logs", "flood", "-n", "1", "--json")), &line)
		return line.Time
	}
	for range 2 {
		before := last()
		eventually(t, 20*time.Second, "the agent to print more", func() bool { return last().After(before) })
	}
	eventually(t, 20*time.Second, "the agents to be verified", func() bool { return strings.Count(smith("tree"), "running") == 3 })

	// Somebody reads again.
	type line struct {
		Time                        time.Time
		Runner, Agent, Stream, Text string
		Incarnation                 uint64
		Dropped                     int
	}
	seen := map[string]line{}
	for began := time.Now(); len(seen) < 4; {
		raw, err := in.ReadBytes('\n')
		var l line
		if err == nil {
			err = json.Unmarshal(raw, &l)
		}
		if err != nil || time.Since(began) > 20*time.Second {
			t.Fatalf("%q, %v; so far %+v", raw, err, seen)
		}
		key := l.Agent + " " + l.Text
		if l.Dropped > 0 {
			key = l.Agent + " dropped"
		}
		seen[key] = l
	}
	for _, key := range []string{"flood out", "flood err", "flood dropped", "quiet one line\x1b"} {
		l, ok := seen[key]
		if !ok || l.Runner != "local" || l.Incarnation != 1 || time.Since(l.Time) > time.Minute || (l.Stream == "note") != (l.Dropped > 0) {
			t.Errorf("%s: %+v, %t", key, l, ok)
		}
	}

	// The reader is gone.
	_ = stdout.Close()
	before := last()
	eventually(t, 20*time.Second, "the agent to print more", func() bool { return last().After(before) })
	eventually(t, 20*time.Second, "smith to say so", func() bool {
		return strings.Contains(stderr.Tail(64<<10), "the output of agents cannot be forwarded")
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("smith up ends with %v", err)
	}
}
