package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const containerConfig = `
supervision_tree:
  failure_detection: {heartbeat_interval: 1s}
  tree:
    - {name: tools, heartbeats: runner, runner: boxed, command: [sh, -c, "while sleep 0.02; do (setsid sleep 0.01 &); done"]}
    - {name: worker, heartbeats: runner, runner: boxed, shutdown_timeout: 5s, command: [sh, -c, "trap 'sleep 1; echo gone >>RECORD; exit 0' TERM; echo up >>RECORD; while :; do sleep 0.05; done"]}
`

// image is what examples/container/Dockerfile says of the program that it runs.
func image(t *testing.T) (entrypoint []string, env []string) {
	t.Helper()
	text, err := os.ReadFile("../examples/container/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ENV (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		env = append(env, m[1])
	}
	last := regexp.MustCompile(`(?m)^ENTRYPOINT (.*)$`).FindStringSubmatch(string(text))
	if len(env) < 3 || last == nil || json.Unmarshal([]byte(last[1]), &entrypoint) != nil {
		t.Fatalf("not understood: %s", text)
	}
	help, _, _ := run(t, nil, bin("runner"), "--help")
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); !strings.Contains(strings.Join(strings.Fields(help), " "), "($"+name+")") {
			t.Errorf("the image sets %s, which the runner does not read", name)
		}
	}
	return entrypoint, env
}

// TestRunnerInAContainer runs the runner as the image does, as the first process of a
// pid namespace: it reaps all, gives agents their time when the container is stopped,
// and after kill -9 of the container a new one on the same volume starts them again.
func TestRunnerInAContainer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	services, url := up(t, filepath.Join(dir, "store"), strings.ReplaceAll(containerConfig, "RECORD", record))
	fleet := connectTo(t, url)
	entrypoint, env := image(t)
	if entrypoint[0] != "smith-runner" {
		t.Fatal(entrypoint)
	}
	env = append(env, "PATH="+os.Getenv("PATH"), "NATS_URL="+url, "SMITH_RUNNER_NAME=boxed", fmt.Sprintf("SMITH_HTTP=127.0.0.1:%d", freePort(t)))
	for i, kv := range env {
		env[i] = strings.ReplaceAll(kv, "/var/lib/mistersmith", filepath.Join(dir, "volume"))
	}
	if err := os.MkdirAll(filepath.Join(dir, "volume"), 0o700); err != nil {
		t.Fatal(err)
	}
	container := func() (*exec.Cmd, int) {
		args := []string{"unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"}
		if os.Geteuid() == 0 {
			args = append(args[:1], args[3:]...)
		}
		args = append(append(args, bin("runner")), entrypoint[1:]...)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = env
		begin(t, cmd)
		var first int
		eventually(t, 10*time.Second, "the container", func() bool {
			if cmd.ProcessState != nil {
				return true
			}
			first = childOf(cmd.Process.Pid)
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", first))
			return exe == bin("runner")
		})
		return cmd, first
	}
	runs := func(incarnation uint64) {
		t.Helper()
		for _, agent := range []string{"tools", "worker"} {
			eventually(t, 20*time.Second, fmt.Sprintf("%s#%d to run", agent, incarnation), func() bool {
				v := fleet.view(agent)
				return v.Incarnation == incarnation && v.Status == contracts.StatusRunning
			})
		}
	}
	recorded := func(word string) int {
		text, _ := os.ReadFile(record)
		return strings.Count(string(text), word)
	}

	cmd, first := container()
	runs(1)
	most := 0
	for range 20 {
		<-time.After(50 * time.Millisecond)
		most = max(most, zombiesOf(first))
	}
	eventually(t, 5*time.Second, "zombies to be reaped", func() bool { return zombiesOf(first) == 0 })
	if most > 80 { // a second's worth, and more
		t.Errorf("%d zombies", most)
	}

	_ = syscall.Kill(first, syscall.SIGKILL)
	end(t, cmd)
	cmd, first = container()
	runs(2)
	failed := last[contracts.AgentFailedData](fleet, contracts.AgentFailed, "worker")
	if failed.Reason != contracts.ReasonHostLost || failed.Exit.Blame != contracts.BlameHost {
		t.Errorf("after kill -9: %+v", failed)
	}
	if n := recorded("up"); n != 2 {
		t.Errorf("worker was started %d times", n)
	}

	_ = syscall.Kill(first, syscall.SIGTERM) // docker stop
	if code := end(t, cmd); code != 0 {
		t.Errorf("docker stop: exit code %d", code)
	}
	if n := recorded("gone"); n != 1 {
		t.Errorf("worker ended by itself %d times", n)
	}
	// It answered SIGTERM with exit code 0, and has not completed for that.
	failed = last[contracts.AgentFailedData](fleet, contracts.AgentFailed, "worker")
	if failed.Incarnation != 2 || failed.Reason != contracts.ReasonHostLost || failed.Exit.Code != 0 || failed.Exit.Blame != contracts.BlameHost {
		t.Errorf("docker stop: %+v", failed)
	}
	services.Kill() // it would wait for the runner to come back
}

// childOf is the first child of a process, or 0.
func childOf(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	first, _, _ := bytes.Cut(raw, []byte(" "))
	child, _ := strconv.Atoi(string(first))
	return child
}

// zombiesOf counts the children of a process that wait to be reaped.
func zombiesOf(pid int) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		raw, _ := os.ReadFile(task)
		for child := range strings.FieldsSeq(string(raw)) {
			if stat, err := os.ReadFile("/proc/" + child + "/stat"); err == nil && bytes.Contains(stat, []byte(") Z ")) {
				n++
			}
		}
	}
	return n
}
