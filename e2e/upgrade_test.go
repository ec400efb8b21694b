package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const upgradeConfig = `
supervision_tree:
  tree:
    - {name: stays, heartbeats: runner, command: [sleep, "1000"]}
    - {name: ends, heartbeats: runner, command: [sh, -c, "trap 'exit 7' USR1; while :; do sleep 0.02; done"]}
`

// TestRunnerIsUpgraded: another program takes the place of a runner's, and the runner is
// started again. What runs is not disturbed, what ends meanwhile is told with its exit
// code, and what is started then has the new program as its parent.
func TestRunnerIsUpgraded(t *testing.T) {
	t.Parallel()
	s := deploy(t, upgradeConfig)
	before := s.waitRunning(map[string]uint64{"stays": 1, "ends": 1})
	runner := s.services["runner"]
	runner.Stop()
	if err := syscall.Kill(before["ends"].PID, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the agent to end", func() bool { return syscall.Kill(before["ends"].PID, 0) != nil })
	program, err := os.ReadFile(bin("runner"))
	if err != nil {
		t.Fatal(err)
	}
	runner.name = filepath.Join(s.dir, "runner-next")
	if err := os.WriteFile(runner.name, append(program, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	runner.Start()
	after := s.waitRunning(map[string]uint64{"stays": 1, "ends": 2})
	if got, want := after["stays"], before["stays"]; got.PID != want.PID || got.Incarnation != want.Incarnation {
		t.Errorf("stays is process %d, incarnation %d; it was %d, %d", got.PID, got.Incarnation, want.PID, want.Incarnation)
	}
	for _, ev := range s.events() {
		if ev.Type != contracts.AgentFailed {
			continue
		}
		data, err := contracts.DecodeData[contracts.AgentFailedData](ev)
		if err != nil || data.Exit == nil || data.Exit.Code != 7 || data.Incarnation != 1 {
			t.Errorf("%s: %+v, %v; want exit code 7", ev.Source, data, err)
		}
	}
	for name, want := range map[string]string{"stays": bin("runner"), "ends": runner.name} {
		if got, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", parentOf(t, after[name].PID))); got != want {
			t.Errorf("%s has a parent that runs %s, want %s", name, got, want)
		}
	}
	// The former parent ends with the last of its agents.
	former := parentOf(t, before["stays"].PID)
	if out, stderr, code := run(t, nil, bin("smith"), "child", "terminate", "stays", "--server", s.url); code != 0 {
		t.Errorf("terminate: %d, %s%s", code, out, stderr)
	}
	eventually(t, 10*time.Second, "the former parent to end", func() bool { return syscall.Kill(former, 0) != nil })
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return parent
}
