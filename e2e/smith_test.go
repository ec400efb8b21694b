package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestDemo runs the README's first command and checks what it claims.
func TestDemo(t *testing.T) {
	t.Parallel()
	out, errOut, code := run(t, nil, bin("smith"), "demo", "--json")
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, out, errOut)
	}
	var report struct {
		OK     bool `json:"ok"`
		Agents int  `json:"agents"`
		Faults []struct {
			OK bool `json:"ok"`
		} `json:"faults"`
		Tasks struct{ Submitted, Completed, Lost int }
		Why   contracts.WhyReply
		Took  float64 `json:"took_seconds"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || report.Agents < 8 || len(report.Faults) != 6 || report.Tasks.Submitted < 200 || report.Tasks.Completed != report.Tasks.Submitted || len(report.Why.Chain) < 4 || report.Took > 60 {
		t.Errorf("report: %+v", report)
	}
}

// up starts `smith up` and gives its URL.
func up(t *testing.T, storeDir, config string) (*process, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, bin("smith"), nil, "up", "--listen", "127.0.0.1:0", "--store-dir", storeDir, "--config", file)
	return p, readyURL(t, p)
}

var readyLine = regexp.MustCompile(`(?m)^ready (nats://127\.0\.0\.1:\d+)$`)

// readyURL waits for the line with which smith up says that it serves.
func readyURL(t *testing.T, p *process) string {
	t.Helper()
	var found []string
	eventually(t, 30*time.Second, "smith up to be ready", func() bool {
		all := readyLine.FindAllStringSubmatch(p.output.Tail(64<<10), -1)
		if len(all) > 0 {
			found = all[len(all)-1]
		}
		return found != nil
	})
	return found[1]
}

const upConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 1s}
  tree:
    - name: research
      strategy: one_for_one
      children:
        - {name: crawler, count: 2, type: researcher, capacity: 2, heartbeat_interval: 1s, command: [WORKER, --records, RECORDS]}
`

// TestOperator walks through what an operator does with smith.
func TestOperator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	records := filepath.Join(dir, "records")
	config := strings.NewReplacer("WORKER", bin("worker"), "RECORDS", records).Replace(upConfig)
	_, url := up(t, filepath.Join(dir, "store"), config)
	smith := func(args ...string) string {
		t.Helper()
		out, errOut, code := run(t, []string{"NATS_URL=" + url, "NO_COLOR=1"}, bin("smith"), args...)
		if code != 0 {
			t.Fatalf("smith %v: exit code %d\n%s\n%s", args, code, out, errOut)
		}
		return out
	}
	contains := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in:\n%s", w, out)
			}
		}
	}
	running := func(name string, incarnation uint64) {
		t.Helper()
		eventually(t, 20*time.Second, fmt.Sprintf("%s#%d to run", name, incarnation), func() bool {
			out := smith("tree", "--json")
			return treeHas(t, out, name, incarnation)
		})
	}
	running("crawler-1", 1)
	running("crawler-2", 1)
	contains(smith("tree"), "research", "├─ crawler-1", "└─ crawler-2", "running")
	eventually(t, 10*time.Second, "agents to be healthy", func() bool {
		return strings.Count(smith("agents", "--type", "researcher", "--health", "healthy"), "crawler-") == 2
	})
	contains(smith("task", "submit", "research", `{"x": 1}`, "--id", "task-1", "--wait"), "task-1", "completed", "by crawler-")
	contains(smith("task", "status", "task-1"), "completed")
	contains(smith("events", "correlation", "task-1"), "task.assigned", "task.completed")

	for _, second := range []struct {
		path string
		args []string
		want string
	}{
		{bin("smith"), []string{"up", "--listen", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store")}, "in use by another smith"},
		{bin("runner"), []string{"--server", url, "--http", "", "--name", "local", "--state-dir", filepath.Join(dir, "other")}, "local"},
	} {
		if _, errOut, code := run(t, nil, second.path, second.args...); code != 1 || !strings.Contains(errOut, second.want) {
			t.Errorf("%s %v beside the first: exit code %d\n%s", second.path, second.args, code, errOut)
		}
	}
	watches := map[*process]string{
		start(t, bin("smith"), []string{"NATS_URL=" + url, "NO_COLOR=1"}, "watch"):           "crawler-1",
		start(t, bin("smith"), []string{"NATS_URL=" + url, "NO_COLOR=1"}, "watch", "--json"): `"subject":"crawler-1"`,
	}
	for p := range watches {
		eventually(t, 10*time.Second, "smith watch to watch", func() bool { return strings.Contains(p.output.Tail(64<<10), "watching") })
	}
	smith("child", "restart", "crawler-1", "--reason", "try")
	running("crawler-1", 2)
	for p, want := range watches {
		eventually(t, 10*time.Second, "smith watch to tell of "+want, func() bool { return strings.Contains(p.output.Tail(64<<10), want) })
	}
	contains(smith("why", "crawler-1"), "agent.started", "crawler-1")
	smith("child", "add", "research", "extra", "--type", "researcher", "--heartbeats", "runner", "--", "sleep", "1000")
	running("extra", 1)
	smith("child", "suspend", "research", "--reason", "try")
	contains(smith("tree"), "suspended")
	smith("child", "resume", "research")
	smith("child", "terminate", "extra")
	eventually(t, 10*time.Second, "extra to stop", func() bool { return strings.Contains(smith("tree", "--json"), `"stopped"`) })
	contains(smith("why", "extra"), "extra is terminated", "ordered by", "terminate extra")
	contains(smith("why", "research"), "research runs")
	contains(smith("why", "task-1"), "task task-1 of type")
	smith("child", "remove", "extra")
	eventually(t, 10*time.Second, "extra to go", func() bool { return !strings.Contains(smith("tree"), "extra") })

	var stored contracts.StoredEvent
	line, _, _ := strings.Cut(smith("events", "query", "--type", "agent.started", "--entity", "crawler-1", "--json"), "\n")
	if err := json.Unmarshal([]byte(line), &stored); err != nil {
		t.Fatal(err)
	}
	contains(smith("events", "get", stored.Event.ID), stored.Event.ID)
	contains(smith("drain", "--reason", "try"), "drain: done")
	eventually(t, 20*time.Second, "the tree to be down", func() bool { return !strings.Contains(smith("tree", "--json"), `"running"`) })
	contains(smith("tree", "--problems"), "nothing is wrong\nthe tree is drained since 20", ", by ", "smith child restart root starts it")
	smith("child", "restart", "root")
	running("crawler-1", 3)
	contains(smith("events", "replay", "--type", "agent.started", "--limit", "2"), "agent.started", "2 events")
	for _, command := range [][]string{
		{"tree"},
		{"agents"},
		{"why", "crawler-1"},
		{"events", "query", "--entity", "crawler-1"},
		{"events", "get", stored.Event.ID},
		{"events", "correlation", "task-1"},
		{"events", "replay", "--type", "agent.started", "--limit", "2"},
		{"task", "submit", "research", "--id", "task-2"},
		{"task", "status", "task-2"},
		{"child", "restart", "crawler-2"},
		{"child", "suspend", "research"},
		{"child", "resume", "research"},
		{"drain"},
	} {
		out := smith(append(command, "--json")...)
		for in := json.NewDecoder(strings.NewReader(out)); ; {
			var v any
			err := in.Decode(&v)
			if errors.Is(err, io.EOF) && out != "" {
				break
			}
			if err != nil {
				t.Errorf("smith %v --json: %v in %q", command, err, out)
				break
			}
		}
	}
}

func treeHas(t *testing.T, treeJSON, name string, incarnation uint64) bool {
	t.Helper()
	var tree contracts.TreeReply
	if err := json.Unmarshal([]byte(treeJSON), &tree); err != nil {
		t.Fatal(err)
	}
	var has func(n contracts.NodeView) bool
	has = func(n contracts.NodeView) bool {
		if n.Name == name {
			return n.Status == contracts.NodeRunning && n.Incarnation >= incarnation
		}
		for _, c := range n.Children {
			if has(c) {
				return true
			}
		}
		return false
	}
	return has(tree.Root)
}

// TestUpKilledAndStartedAgain: agents go on while smith is away, and are found
// again rather than started again, also when what the runner remembered of them
// is lost.
func TestUpKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]string{"with its memory": "", "without the runner's": "runner"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upKilledAndStartedAgain(t, lost)
		})
	}
}

// upKilledAndStartedAgain removes a part of the store meanwhile.
func upKilledAndStartedAgain(t *testing.T, lost string) {
	dir := t.TempDir()
	records := filepath.Join(dir, "records")
	config := strings.NewReplacer("WORKER", bin("worker"), "RECORDS", records).Replace(upConfig)
	first, url := up(t, filepath.Join(dir, "store"), config)
	tree := func(url string) string {
		out, _, _ := run(t, nil, bin("smith"), "tree", "--json", "--server", url)
		return out
	}
	eventually(t, 20*time.Second, "agents to run", func() bool {
		out := tree(url)
		return out != "" && treeHas(t, out, "crawler-1", 1) && treeHas(t, out, "crawler-2", 1)
	})
	// Agents reconnect to the address they know, so the server takes it again.
	port := url[strings.LastIndex(url, ":")+1:]
	first.Kill()
	for i, arg := range first.args {
		if arg == "127.0.0.1:0" {
			first.args[i] = "127.0.0.1:" + port
		}
	}
	first.output.Reset()
	if lost != "" {
		if err := os.RemoveAll(filepath.Join(dir, "store", lost)); err != nil {
			t.Fatal(err)
		}
	}
	first.Start()
	url = readyURL(t, first)
	eventually(t, 20*time.Second, "agents to run again", func() bool {
		out := tree(url)
		return out != "" && treeHas(t, out, "crawler-1", 1) && treeHas(t, out, "crawler-2", 1)
	})
	raw, err := os.ReadFile(records)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), `"start"`); n != 2 {
		t.Errorf("%d starts, want the first 2:\n%s", n, raw)
	}
	first.Stop()
	if raw, err = os.ReadFile(records); err != nil || strings.Count(string(raw), `"stop"`) != 2 {
		t.Errorf("smith up ended, but not its agents (%v):\n%s", err, raw)
	}
}

// TestWrongUse: each mistake has one message that names the thing and the
// remedy, and its exit code.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte("supervision_tree:\n  root_stratgy: OneForAll\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"nonsense"}, 2, []string{"nonsense", "--help"}},
		{[]string{"tree", "--nope"}, 2, []string{"--nope"}},
		{[]string{"events", "query", "--from", "yesterday"}, 2, []string{"yesterday", "10m"}},
		{[]string{"events", "query", "--type", "agent.exploded"}, 2, []string{"agent.exploded"}},
		{[]string{"task", "submit", "research", "{"}, 2, []string{"JSON"}},
		{[]string{"task", "submit", "no.dots", "{}"}, 2, []string{"no.dots"}},
		{[]string{"tree", "--server", "nats://127.0.0.1:1", "--timeout", "1s"}, 1, []string{"127.0.0.1:1", "smith up"}},
		{[]string{"config", "check", bad}, 1, []string{"bad.yaml:2:3", "root_strategy"}},
		{[]string{"config", "check", "/no/such/file"}, 1, []string{"/no/such/file"}},
		{[]string{"up", "--config", bad}, 2, []string{"bad.yaml:2:3"}},
		{[]string{"up", "--listen", taken.Addr().String(), "--store-dir", dir}, 1, []string{taken.Addr().String(), "--listen"}},
		{[]string{"up", "--listen", "127.0.0.1:0", "--store-dir", file}, 1, []string{file, "--store-dir"}},
		{[]string{"up", "--listen", "somewhere"}, 2, []string{"somewhere", "HOST:PORT"}},
	} {
		out, errOut, code := run(t, nil, bin("smith"), c.args...)
		if code != c.code {
			t.Errorf("smith %v: exit code %d, want %d\n%s%s", c.args, code, c.code, out, errOut)
		}
		for _, want := range c.want {
			if !strings.Contains(errOut, want) {
				t.Errorf("smith %v: no %q in:\n%s", c.args, want, errOut)
			}
		}
	}
	for _, service := range append([]string{"smith"}, starting...) {
		out, _, code := run(t, nil, bin(service), "--help")
		if code != 0 || !strings.Contains(out, "Usage: "+service) {
			t.Errorf("%s --help: exit code %d\n%s", service, code, out)
		}
	}
}

// shell runs a line as a user would type it, towards the system, and gives what
// it prints; it must succeed.
func (s *system) shell(dir, line string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+binaries+":"+os.Getenv("PATH"), "NATS_URL="+s.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}
