package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const editedBefore = `
supervision_tree:
  verification: {stabilisation: 100ms}
  tree:
    - {name: same, command: [sleep, "1001"], heartbeats: runner}
    - {name: changed, command: [sleep, "1002"], heartbeats: runner}
    - {name: removed, command: [sleep, "1003"], heartbeats: runner}
    - {name: secretive, command: [sleep, "1004"], heartbeats: runner, env: {TOKEN: first}}
    - {name: n, count: 3, command: [sleep, "1005"], heartbeats: runner}
`

const editedAfter = `
supervision_tree:
  verification: {stabilisation: 100ms}
  tree:
    - {name: same, command: [sleep, "1001"], heartbeats: runner}
    - {name: changed, command: [sleep, "2002"], heartbeats: runner}
    - {name: secretive, command: [sleep, "1004"], heartbeats: runner, env: {TOKEN: second}}
    - {name: n, count: 1, command: [sleep, "1005"], heartbeats: runner}
    - {name: added, command: [sleep, "1006"], heartbeats: runner}
`

// edited is smith up whose configuration is edited.
type edited struct {
	t    *testing.T
	up   *process
	url  string
	file string
}

func (e *edited) smith(args ...string) (out, errOut string, code int) {
	e.t.Helper()
	return run(e.t, []string{"NATS_URL=" + e.url, "NO_COLOR=1"}, bin("smith"), args...)
}

// agents are those of the tree, by name.
func (e *edited) agents() map[string]contracts.NodeView {
	e.t.Helper()
	out, _, _ := e.smith("tree", "--json")
	var tree contracts.TreeReply
	if json.Unmarshal([]byte(out), &tree) != nil {
		return nil // smith is not there now
	}
	found := map[string]contracts.NodeView{}
	for _, n := range tree.Root.Children {
		found[n.Name] = n
	}
	return found
}

// runs waits until exactly these agents run, which are named with the last
// argument of their command.
func (e *edited) runs(want map[string]string) map[string]contracts.NodeView {
	e.t.Helper()
	var found map[string]contracts.NodeView
	eventually(e.t, 30*time.Second, "the agents of the file to run", func() bool {
		found = e.agents()
		for name, arg := range want {
			n := found[name]
			line, _ := os.ReadFile("/proc/" + strconv.Itoa(n.PID) + "/cmdline")
			if n.Status != contracts.NodeRunning || !strings.HasSuffix(strings.TrimRight(string(line), "\x00"), "\x00"+arg) {
				return false
			}
		}
		return len(found) == len(want)
	})
	return found
}

func (e *edited) environment(agent string) string {
	e.t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(e.agents()[agent].PID) + "/environ")
	if err != nil {
		e.t.Fatal(err)
	}
	for _, v := range strings.Split(string(raw), "\x00") {
		if token, ok := strings.CutPrefix(v, "TOKEN="); ok {
			return token
		}
	}
	return ""
}

func (e *edited) write(text string) {
	e.t.Helper()
	if err := os.WriteFile(e.file, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

var (
	asBefore = map[string]string{"same": "1001", "changed": "1002", "removed": "1003", "secretive": "1004", "n-1": "1005", "n-2": "1005", "n-3": "1005"}
	asAfter  = map[string]string{"same": "1001", "changed": "2002", "secretive": "1004", "n-1": "1005", "added": "1006"}
)

// startEdited runs the configuration before the edit, with everything in dir.
func startEdited(t *testing.T, dir string) *edited {
	t.Helper()
	e := &edited{t: t, file: filepath.Join(dir, "config.yaml")}
	e.write(editedBefore)
	e.up = start(t, bin("smith"), nil, "up", "--listen", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store"), "--config", e.file)
	e.url = readyURL(t, e.up)
	return e
}

// TestEditedConfiguration applies an edited file by command, by SIGHUP and by a
// start, with real processes: what did not change is the same process all along.
func TestEditedConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startEdited(t, dir)
	same := e.runs(asBefore)["same"].PID

	// By command: first the plan, then a mistake, then the file.
	next := filepath.Join(dir, "next.yaml")
	if err := os.WriteFile(next, []byte(editedAfter), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, errOut, code := e.smith("config", "diff", next)
	for _, want := range []string{"agent changed: restarted", "agent removed: stopped", "agent secretive: restarted", "agent n-3: stopped", "agent added under root: started", "\n          env\n"} {
		if code != 0 || !strings.Contains(plan, want) {
			t.Errorf("diff: exit code %d, no %q in\n%s%s", code, want, plan, errOut)
		}
	}
	if dry, _, code := e.smith("config", "apply", next, "--dry-run"); code != 0 || !strings.Contains(dry, "agent changed: restarted") {
		t.Errorf("--dry-run: exit code %d\n%s", code, dry)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte(strings.Replace(editedAfter, "command: [sleep, \"2002\"]", "comand: x", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := e.smith("config", "apply", bad); code != 1 || !strings.Contains(errOut, "bad.yaml:6:") {
		t.Errorf("a mistake: exit code %d\n%s", code, errOut)
	}
	e.runs(asBefore)
	out, errOut, code := e.smith("config", "apply", next)
	if code != 0 || !strings.HasSuffix(out, "applied\n") {
		t.Fatalf("apply: exit code %d\n%s%s", code, out, errOut)
	}
	e.runs(asAfter)
	if got := e.environment("secretive"); got != "second" {
		t.Errorf("after apply the environment is %q", got)
	}

	// Killed and started again, it follows the log, and not its file.
	e.again()
	e.runs(asAfter)

	// By SIGHUP: a mistake changes nothing, the file as it was undoes the change.
	e.write("supervision_tree: {tre: []}")
	e.hangup("configuration refused; the one in force stays")
	e.runs(asAfter)
	e.write(editedBefore)
	e.hangup("configuration in force")
	e.runs(asBefore)
	if got := e.environment("secretive"); got != "first" {
		t.Errorf("after SIGHUP the environment is %q", got)
	}

	// By a start with an edited file.
	e.up.Kill()
	e.write(editedAfter)
	e.again()
	found := e.runs(asAfter)
	if found["same"].PID != same || found["same"].Incarnation != 1 {
		t.Errorf("the agent that never changed was restarted: %+v", found["same"])
	}
	if got := e.environment("secretive"); got != "second" {
		t.Errorf("after the start the environment is %q", got)
	}
}

// again kills smith, unless it is dead, and starts it on the same address.
func (e *edited) again() {
	e.t.Helper()
	e.up.Kill()
	for i, arg := range e.up.args {
		if arg == "127.0.0.1:0" {
			e.up.args[i] = strings.TrimPrefix(e.url, "nats://")
		}
	}
	e.up.output.Reset()
	e.up.Start()
	e.url = readyURL(e.t, e.up)
}

// hangup sends SIGHUP and waits until smith has logged what came of it.
func (e *edited) hangup(logged string) {
	e.t.Helper()
	e.up.output.Reset()
	e.up.Signal(syscall.SIGHUP)
	eventually(e.t, 20*time.Second, "smith to read its file again", func() bool {
		return strings.Contains(e.up.output.Tail(64<<10), logged)
	})
}

// TestOutdatedAgents: a file that is applied with --keep restarts nobody; who is
// outdated is shown, and restarted when an operator wants it.
func TestOutdatedAgents(t *testing.T) {
	t.Parallel()
	e := startEdited(t, t.TempDir())
	e.runs(asBefore)
	e.write(strings.Replace(editedBefore, "1002", "2002", 1))
	if out, errOut, code := e.smith("config", "apply", "--keep", e.file); code != 0 || !strings.Contains(out, "agent changed: left running, outdated") {
		t.Fatalf("--keep: exit code %d\n%s%s", code, out, errOut)
	}
	e.runs(asBefore)
	if out, _, _ := e.smith("tree"); strings.Count(out, "running, outdated") != 1 {
		t.Errorf("smith tree:\n%s", out)
	}
	for _, args := range [][]string{{"child", "restart"}, {"child", "restart", "same", "--max-unavailable", "2"}, {"config", "apply", e.file, "--keep", "--max-unavailable", "2"}} {
		if _, errOut, code := e.smith(args...); code != 2 {
			t.Errorf("smith %v: exit code %d\n%s", args, code, errOut)
		}
	}
	if out, errOut, code := e.smith("child", "restart", "--outdated"); code != 0 || out != "restart: done\n" {
		t.Errorf("--outdated: exit code %d\n%s%s", code, out, errOut)
	}
	want := map[string]string{}
	for name, arg := range asBefore {
		want[name] = arg
	}
	want["changed"] = "2002"
	before := e.runs(want)
	if out, errOut, code := e.smith("child", "restart", "root", "--rolling", "--max-unavailable", "3"); code != 0 {
		t.Errorf("--rolling: exit code %d\n%s%s", code, out, errOut)
	}
	for name, n := range e.runs(want) {
		if n.Incarnation != before[name].Incarnation+1 {
			t.Errorf("%s was at incarnation %d and is at %d", name, before[name].Incarnation, n.Incarnation)
		}
	}

	// The first that does not come up stops it.
	e.write(strings.Replace(editedBefore, `[sleep, "1001"]`, `["false"]`, 1))
	if _, errOut, code := e.smith("config", "apply", e.file); code != 1 || !strings.Contains(errOut, "rolling restart stopped") || !strings.Contains(errOut, "same did not come up") {
		t.Errorf("an agent that fails: exit code %d\n%s", code, errOut)
	}
	if out, _, _ := e.smith("tree"); !strings.Contains(out, "rolling restart stopped") || !strings.Contains(out, "outdated") {
		t.Errorf("smith tree:\n%s", out)
	}
}

// TestApplyWhileAgentsCrash: the file that mends agents which crash all the time is
// applied by the first command, whatever each of them is doing at that moment.
func TestApplyWhileAgentsCrash(t *testing.T) {
	t.Parallel()
	const agents = 12
	dir := t.TempDir()
	e := &edited{t: t, file: filepath.Join(dir, "config.yaml")}
	of := func(command string) string {
		return `
supervision_tree:
  restart_policies: {fast: {max_restarts: 10000, time_window: 60s, restart_delay: 50ms, backoff_strategy: {type: fixed}}}
  root_restart_policy: fast
  verification: {stabilisation: 50ms}
  tree:
    - {name: f, count: ` + strconv.Itoa(agents) + `, command: ` + command + `, heartbeats: runner, policy: fast}
`
	}
	e.write(of(`[sh, -c, "sleep 0.2; exit 3"]`))
	e.up = start(t, bin("smith"), nil, "up", "--listen", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store"), "--config", e.file)
	e.url = readyURL(t, e.up)
	eventually(t, 20*time.Second, "all agents to have crashed", func() bool {
		restarted := 0
		for _, n := range e.agents() {
			if n.Restarts > 1 {
				restarted++
			}
		}
		return restarted == agents
	})
	e.write(of(`[sleep, "1101"]`))
	if out, errOut, code := e.smith("config", "apply", e.file, "--max-unavailable", strconv.Itoa(agents)); code != 0 {
		t.Fatalf("apply: exit code %d\n%s%s", code, out, errOut)
	}
	want := map[string]string{}
	for i := range agents {
		want["f-"+strconv.Itoa(i+1)] = "1101"
	}
	e.runs(want)
}
