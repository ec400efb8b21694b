package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// silenceConfig has no tree: the agents are nobody's.
const silenceConfig = `
supervision_tree:
  failure_detection:
    correlation: {hold: 60s}
`

// The tests of mass silence are small and short, unless under `task soak`: then
// a thousand agents beat, and everything takes its time.
func soaking() bool { return os.Getenv("E2E_ROUNDS") != "" }

func fleetSize() int {
	if soaking() {
		return 1000
	}
	return 200
}

// takes is how long something takes under soak, else a part of that.
func takes(soak time.Duration) time.Duration {
	if soaking() {
		return soak
	}
	return soak / 4
}

// silences is what the detector said about a fleet.
type silences struct {
	Verdicts   int      `json:"verdicts"`
	Recoveries int      `json:"recoveries"`
	Exits      int      `json:"proven_exits"`
	Findings   []string `json:"findings"`
	Doubts     []string `json:"doubts"`
}

func (s *system) silences(since time.Time) silences {
	s.t.Helper()
	var out silences
	for _, ev := range s.events() {
		if ev.Time.Before(since) {
			continue
		}
		switch ev.Type {
		case contracts.AgentFailed:
			if d, err := contracts.DecodeData[contracts.AgentFailedData](ev); err == nil && d.Exit != nil {
				out.Exits++
			} else {
				out.Verdicts++
			}
		case contracts.AgentRecovered:
			out.Recoveries++
		case contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver:
			d, err := contracts.DecodeData[contracts.CorrelatedSilenceData](ev)
			if err != nil {
				s.t.Error(err)
			}
			line := fmt.Sprintf("%s %s%s %d/%d", ev.Type.Name(), d.Kind, strings.TrimRight(" "+d.Name, " "), d.Silent, d.Size)
			if ev.Type == contracts.SystemCorrelatedSilenceOver {
				line += ": " + d.Detail
			}
			out.Findings = append(out.Findings, line)
		case contracts.SystemHealthCheckFailed:
			d, err := contracts.DecodeData[contracts.SystemHealthData](ev)
			if err != nil {
				s.t.Error(err)
			}
			out.Doubts = append(out.Doubts, d.Check)
		}
	}
	return out
}

func (o silences) report(t *testing.T, what string) {
	t.Helper()
	body, err := json.Marshal(o)
	t.Logf("%s: %s %v", what, body, err)
}

// waitHealthy waits until so many agents are healthy to the detector.
func (s *system) waitHealthy(n int) {
	s.t.Helper()
	eventually(s.t, 60*time.Second, fmt.Sprintf("%d agents to be healthy", n), func() bool { return s.healthy() == n })
}

func (s *system) healthy() int {
	n, after := 0, ""
	for {
		body, _ := json.Marshal(contracts.AgentsRequest{Health: contracts.HealthHealthy, Limit: 1000, After: after})
		msg, err := s.nc.Request("smith.detector.agents", body, 2*time.Second)
		if err != nil {
			return -1
		}
		var page contracts.AgentsReply
		_ = json.Unmarshal(msg.Data, &page)
		for _, a := range page.Agents {
			if a.Type == "beater" {
				n++
			}
		}
		if page.Next == "" {
			return n
		}
		after = page.Next
	}
}

// TestNobodyIsAccusedForOthers: the NATS server is killed and started again
// under a beating fleet, and the detector stands still for ten seconds. Nobody
// is accused.
func TestNobodyIsAccusedForOthers(t *testing.T) {
	if !soaking() {
		t.Parallel()
	}
	s := deploy(t, silenceConfig)
	n := fleetSize()
	s.beaters("b", n, time.Second, s.url)
	s.waitHealthy(n)
	<-time.After(takes(20 * time.Second))

	begin := time.Now()
	s.nats.Kill()
	<-time.After(2 * time.Second)
	s.nats.Start()
	s.waitHealthy(n)
	<-time.After(takes(12 * time.Second))
	after := s.silences(begin)
	after.report(t, fmt.Sprintf("NATS server killed and started under %d agents", n))
	if after.Verdicts > 0 || len(after.Findings) > 0 {
		t.Errorf("accused for the server's absence: %+v", after)
	}

	begin = time.Now()
	s.services["detector"].Signal(syscall.SIGSTOP)
	stopped := takes(10 * time.Second)
	<-time.After(stopped)
	s.services["detector"].Signal(syscall.SIGCONT)
	s.waitHealthy(n)
	<-time.After(takes(12 * time.Second))
	after = s.silences(begin)
	after.report(t, fmt.Sprintf("detector stopped for %s under %d agents", stopped, n))
	if after.Verdicts > 0 || len(after.Findings) > 0 || len(after.Doubts) == 0 {
		t.Errorf("accused for the detector's own absence: %+v", after)
	}
}

// TestPartition: half of a fleet is cut off for a while. There is one finding and
// no storm of verdicts; and when the network is mended, all are healthy in the
// incarnation they had.
func TestPartition(t *testing.T) {
	if !soaking() {
		t.Parallel()
	}
	s := deploy(t, silenceConfig)
	n := fleetSize()
	network := newProxy(t, strings.TrimPrefix(s.url, "nats://"))
	s.beaters("near", n/2, time.Second, s.url)
	s.beaters("far", n/2, time.Second, network.url())
	s.waitHealthy(n)
	<-time.After(takes(20 * time.Second))

	begin := time.Now()
	network.partition(true)
	eventually(t, 30*time.Second, "the finding", func() bool { return len(s.silences(begin).Findings) > 0 })
	<-time.After(takes(12 * time.Second))
	amid := s.silences(begin)
	amid.report(t, fmt.Sprintf("half of %d agents cut off", n))
	network.partition(false)
	s.waitHealthy(n)
	eventually(t, 30*time.Second, "the finding to be over, and recoveries", func() bool {
		now := s.silences(begin)
		return len(now.Findings) > 1 && now.Verdicts == now.Recoveries
	})
	after := s.silences(begin)
	after.report(t, "the network mended")
	if len(amid.Findings) != 1 || len(after.Findings) != 2 {
		t.Errorf("findings %q, then %q; want one, and its end", amid.Findings, after.Findings)
	}
	if most := max(8, n/20); after.Verdicts > most || after.Verdicts != after.Recoveries {
		t.Errorf("%d verdicts, %d of them taken back; at most %d pass before it is clear that many are silent", after.Verdicts, after.Recoveries, most)
	}
}

const hostConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 500ms}
  restart_policies:
    default: {max_restarts: 100, time_window: 1h, restart_delay: 2s, backoff_strategy: {type: fixed}}
  tree:
    - name: host
      strategy: one_for_one
      policy: default
      children:
        - {name: w, type: researcher, count: COUNT, heartbeat_interval: 500ms, command: [sleep, "1000"], heartbeats: runner}
`

// TestHostKilled: all agents of a host are killed at the same moment. Each exit
// is proven, none waits, and one finding names the host.
func TestHostKilled(t *testing.T) {
	n := 12
	if soaking() {
		n = 50
	} else {
		t.Parallel()
	}
	s := deploy(t, strings.ReplaceAll(hostConfig, "COUNT", fmt.Sprint(n)))
	want := map[string]uint64{}
	for i := range n {
		want[fmt.Sprintf("w-%d", i+1)] = 1
	}
	now := s.waitRunning(want)
	<-time.After(2 * time.Second)
	begin := time.Now()
	for _, a := range now {
		if err := killGroup(a.PID); err != nil {
			t.Fatal(err)
		}
	}
	killed := time.Now()
	eventually(t, 20*time.Second, "the finding", func() bool { return len(s.silences(begin).Findings) > 0 })
	for name := range want {
		want[name] = 2
	}
	s.waitRunning(want)
	eventually(t, 30*time.Second, "the finding to be over", func() bool { return len(s.silences(begin).Findings) > 1 })
	after := s.silences(begin)
	after.report(t, fmt.Sprintf("%d agents of a host killed together", n))
	if after.Exits != n || after.Verdicts > 0 || len(after.Findings) != 2 || !strings.HasPrefix(after.Findings[0], "correlated_silence runner host1") {
		t.Errorf("%+v", after)
	}
	for _, ev := range s.checkLog() {
		if d, err := contracts.DecodeData[contracts.AgentFailedData](ev); ev.Type == contracts.AgentFailed && err == nil && d.Incarnation == 1 && ev.Time.Sub(killed) > 5*time.Second {
			t.Errorf("the exit of %s was told %s after the kill", d.Agent, ev.Time.Sub(killed))
		}
	}
}

// TestTwoDetectors: two detectors watch one fleet. Each verdict is stored once;
// when one of them is killed, the next death is found as soon as ever.
func TestTwoDetectors(t *testing.T) {
	if !soaking() {
		t.Parallel()
	}
	s := deploy(t, silenceConfig)
	first := s.services["detector"]
	start(t, bin("detector"), nil, "--server", s.url, "--http", "", "--config", s.dir+"/supervision-config.yaml", "--instance", "detector-2")
	eventually(t, 20*time.Second, "the second detector", func() bool {
		return s.metrics(t)["smith_detector_replicas"] == 2
	})
	var singles []*process
	for i := range 4 {
		singles = append(singles, s.beaters(fmt.Sprint("single", i), 1, 500*time.Millisecond, s.url)...)
	}
	s.waitHealthy(4)
	<-time.After(5 * time.Second)
	begin := time.Now()
	verdicts := func(want int) {
		t.Helper()
		eventually(t, 20*time.Second, fmt.Sprintf("%d verdicts", want), func() bool { return s.silences(begin).Verdicts == want })
	}
	singles[0].Kill()
	verdicts(1)
	singles[1].Kill()
	verdicts(2)
	first.Kill()
	singles[2].Kill()
	killed := time.Now()
	verdicts(3)
	t.Logf("found %s after the kill, beside a killed detector", time.Since(killed).Round(time.Millisecond))
	<-time.After(2 * time.Second)
	if got := s.silences(begin); got.Verdicts != 3 {
		t.Errorf("%+v", got)
	}
	s.checkLog()
	first.Start()
	s.waitReady("detector")
}
