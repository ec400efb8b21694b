package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/golden"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

func TestExplainPrints(t *testing.T) {
	r := contracts.ExplainReply{
		View: contracts.AgentView{
			Agent: "crawler-1", Health: contracts.HealthHealthy, Phi: 0.3, Threshold: 4.3, Interval: contracts.Duration(time.Second), Samples: 4120,
			Silence: contracts.Duration(340 * time.Millisecond), DegradedAfter: contracts.Duration(1310 * time.Millisecond),
			FailedAfter: contracts.Duration(2920 * time.Millisecond), Rule: "phi", Mistakes: 1,
		},
		Settings: contracts.DetectionSettings{Algorithm: "tail"},
	}
	for i := range 200 {
		r.Recent = append(r.Recent, contracts.Duration(time.Second+time.Duration(i%7-3)*3*time.Millisecond))
	}
	r.Recent = append(r.Recent, contracts.Duration(1200*time.Millisecond), contracts.Duration(2010*time.Millisecond))
	for phi, after := range []time.Duration{1010, 1020, 1500, 2600, 4000, 900_000} {
		r.Levels = append(r.Levels, contracts.SuspicionLevel{Phi: float64(phi + 1), After: contracts.Duration(after * time.Millisecond)})
	}
	var out bytes.Buffer
	if err := explain(&app{stdout: &out}, r); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/explain.golden", out.String())
}

func TestStandingPrints(t *testing.T) {
	for want, v := range map[string]contracts.AgentView{
		"a is healthy: silent for 2s, phi 0.50 of 4.30": {Agent: "a", Health: contracts.HealthHealthy, Phi: 0.5, Threshold: 4.3, Silence: contracts.Duration(2 * time.Second)},
		"a is unhealthy: it said that it stops, and has not ended in time; last heard 50ms ago": {
			Agent: "a", Health: contracts.HealthUnhealthy, Failure: contracts.ReasonStoppingTimeout, Silence: contracts.Duration(50 * time.Millisecond),
		},
		"a said 8s ago that it stops; its shutdown timeout is 5s; last heard 450ms ago": {
			Agent: "a", Health: contracts.HealthUnknown, Stopping: contracts.Duration(8 * time.Second), MayStop: contracts.Duration(5 * time.Second), Silence: contracts.Duration(450 * time.Millisecond),
		},
		"a is degraded: silent for 2s, as is its runner r1, which beats for it;\na verdict waits until the runner is heard": {
			Agent: "a", Runner: "r1", Health: contracts.HealthDegraded, AwaitsRunner: true, Silence: contracts.Duration(2 * time.Second),
		},
	} {
		if got := standing(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSuspicionsPrint(t *testing.T) {
	view := func(agent string, phi float64, silence time.Duration, rule string) contracts.AgentView {
		return contracts.AgentView{
			Agent: agent, Health: contracts.HealthHealthy, Phi: phi, Threshold: 4.3, Silence: contracts.Duration(silence),
			Interval: contracts.Duration(time.Second), DegradedAfter: contracts.Duration(1300 * time.Millisecond),
			FailedAfter: contracts.Duration(2 * time.Second), Rule: rule, Samples: 300,
		}
	}
	var out bytes.Buffer
	if err := suspicions(&app{stdout: &out}, []contracts.AgentView{
		view("calm", 0, 200*time.Millisecond, "phi"), view("late", 2.7, 1500*time.Millisecond, "phi"), view("young", 1, 700*time.Millisecond, "type"),
	}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/suspicions.golden", out.String())
}

// TestAgentsPrint: those that report themselves degraded are counted, whatever the
// table shows, except where they are the table.
func TestAgentsPrint(t *testing.T) {
	healthy := contracts.AgentView{Agent: "a", Health: contracts.HealthHealthy, Status: contracts.StatusDegraded}
	for _, c := range []struct {
		cmd      agentsCmd
		degraded int
		want     string
	}{
		{agentsCmd{}, 0, ""},
		{agentsCmd{}, 1, "1 agent reports itself degraded; smith agents --status degraded lists it\n"},
		{agentsCmd{Health: "degraded"}, 12, "12 agents report themselves degraded; smith agents --status degraded lists them\n"},
		{agentsCmd{Suspicion: true}, 1, "1 agent reports itself degraded; smith agents --status degraded lists it\n"},
		{agentsCmd{Status: "degraded"}, 1, ""},
		{agentsCmd{clientFlags: clientFlags{JSON: true}}, 1, ""},
	} {
		var out bytes.Buffer
		if err := c.cmd.print(&app{stdout: &out}, []contracts.AgentView{healthy}, c.degraded); err != nil {
			t.Fatal(err)
		}
		if _, after, _ := strings.Cut(out.String(), "\n\n"); after != c.want {
			t.Errorf("%+v:\n%s", c.cmd, out.String())
		}
	}
	var out bytes.Buffer
	if err := explain(&app{stdout: &out}, contracts.ExplainReply{View: healthy}); err != nil || !strings.Contains(out.String(), "\nit reports itself degraded\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// recorded writes a recording of two agents, of which one pauses twice and dies
// in the end.
func recorded(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "recording.jsonl")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := json.NewEncoder(f)
	write := func(v any) {
		if err := lines.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	write(detector.RecordingHeader{Format: detector.RecordingFormat, Settings: contracts.DetectionSettings{Algorithm: "tail", FailureThreshold: 3, MinSamples: 10}})
	pauses := 0
	for n := range 600 {
		for i, agent := range []string{"steady", "pausing"} {
			at := time.Duration(n)*time.Second + time.Duration(i)*time.Millisecond
			if agent == "pausing" {
				if pauses = n % 200; pauses > 100 && pauses < 105 || n > 560 {
					continue
				}
			}
			write(contracts.RecordedEntry{
				At: contracts.Duration(at), Kind: contracts.RecordedBeat, Agent: agent, Seq: uint64(n + 1), Interval: contracts.Duration(time.Second),
			})
		}
	}
	return file
}

func TestRehearseDetectorPrints(t *testing.T) {
	file := recorded(t)
	for _, c := range []struct{ golden, args string }{
		{"rehearse-threshold.golden", "--set phi_threshold=8"},
		{"rehearse-normal.golden", "--set algorithm=normal"},
		{"rehearse-target.golden", "--set target_mistakes_per_day=100"},
		{"rehearse-fixed.golden", "--set algorithm=fixed --set phi_threshold=6"},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"detector", "rehearse", file}, strings.Fields(c.args)...), &out, &errOut)
		if code != 0 {
			t.Fatalf("%s: exit code %d\n%s", c.args, code, errOut.String())
		}
		golden.Compare(t, "testdata/"+c.golden, out.String())
	}
	var out, errOut bytes.Buffer
	if code := run([]string{"detector", "rehearse", file, "--set", "failure_threshold=5", "--json"}, &out, &errOut); code != 0 {
		t.Fatalf("exit code %d\n%s", code, errOut.String())
	}
	var pair rehearsedPair
	if err := json.Unmarshal(out.Bytes(), &pair); err != nil || pair.Recorded.Settings.FailureThreshold != 3 || pair.Rehearsed.Settings.FailureThreshold != 5 ||
		len(pair.Recorded.Agents) != 2 || pair.Recorded.All.Verdicts == 0 {
		t.Errorf("%+v, %v", pair, err)
	}
}

func TestDetectorMistakes(t *testing.T) {
	file := recorded(t)
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		want string // what standard error begins with
	}{
		{"detector rehearse " + dir + "/none", "smith: wrong use: open " + dir},
		{"detector rehearse main.go", "smith: wrong use: main.go: not a recording of the detector: line 1: "},
		{"detector rehearse " + file + " --set phi", `smith: wrong use: --set "phi": write KEY=VALUE`},
		{"detector rehearse " + file + " --set phi_treshold=6", "smith: wrong use:\n--set:"},
		{"detector rehearse " + file + " --set phi_threshold=-6", "smith: wrong use:\n--set:"},
		{"detector rehearse " + file + " --config " + dir + "/none", "smith: wrong use: --config: open "},
		{"agents --suspicion --every=-1s", "smith: wrong use: --every"},
	} {
		var out, errOut bytes.Buffer
		if code := run(strings.Fields(c.args), &out, &errOut); code == 0 || !strings.HasPrefix(errOut.String(), c.want) || out.Len() > 0 {
			t.Errorf("smith %s: exit code %d, want %q in:\n%s%s", c.args, code, c.want, out.String(), errOut.String())
		}
	}
	// A recording that is there is not written over.
	before, _ := os.ReadFile(file)
	cmd := recordCmd{Out: file}
	if _, err := cmd.create(&app{stdout: os.Stdout}); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("%v", err)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("the recording was changed")
	}
	if many := (&recordCmd{Agents: make([]string, 200)}).Run(&app{}); many == nil || !strings.Contains(fmt.Sprint(many), "200 agents") {
		t.Errorf("%v", many)
	}
}
