package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestDetectorCommands runs every command of docs/detection.md against a system
// with the agents that it names.
func TestDetectorCommands(t *testing.T) {
	t.Parallel()
	s := deploy(t, foreignConfig)
	beating, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for next := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-beating.Done():
				next.Stop()
				return
			case <-next.C:
			}
			for _, agent := range []string{"crawler-1", "crawler-2"} {
				_ = s.nc.Publish("smith.heartbeat."+agent, []byte(`{"interval":"100ms"}`))
			}
		}
	}()
	defer func() { stop(); <-done }()
	eventually(t, 20*time.Second, "the agents to be known", func() bool { return s.agentView("crawler-2").Samples > 30 })

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "new.yaml"), []byte("supervision_tree: {failure_detection: {phi_threshold: 6}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/detection.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ := strings.Cut(strings.TrimSpace(line), "  #")
			program, _, _ := strings.Cut(line, " ")
			tried[program]++
			switch {
			case strings.HasPrefix(line, "go run ./services/detector/cmd/tradeoff"):
				s.shell("..", strings.Replace(line, "docs/", t.TempDir()+"/", 1)+" -hours 0.2")
			case strings.HasPrefix(line, "go test "), strings.HasPrefix(line, "go run ./services/detector/cmd/judge-adapter"), strings.HasPrefix(line, "go run ./services/detector/cmd/scale"):
				// run by their own packages' tests
			case program == "smith":
				s.shell(dir, strings.Replace(line, "--for 1h", "--for 2s", 1))
			default:
				t.Errorf("docs/detection.md: nothing tests %q", line)
			}
		}
	}
	if tried["smith"] < 6 || tried["go"] < 2 {
		t.Errorf("commands tried: %v", tried)
	}

	var agents []contracts.AgentView
	if err := json.Unmarshal([]byte(s.shell(dir, "smith agents --suspicion --json")), &agents); err != nil {
		t.Fatal(err)
	}
	for _, v := range agents {
		if v.Agent == "crawler-1" && (v.FailedAfter < v.DegradedAfter || v.DegradedAfter == 0 || v.Rule == "") {
			t.Errorf("%+v", v)
		}
	}
	eventually(t, 20*time.Second, "crawler-1 to be explained", func() bool {
		out := s.shell(dir, "smith detector explain crawler-1")
		return strings.Contains(out, "crawler-1 is healthy") && strings.Contains(out, "◀ failed") && strings.Contains(out, "█")
	})
}
