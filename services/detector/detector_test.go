package detector_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

func TestEmptyHeartbeatsAreWatched(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		stop := r.beat("foo", 5*time.Second, "")
		r.wait(time.Minute)
		v, err := call[contracts.AgentView](r, "status", contracts.AgentRequest{Agent: "foo"})
		if err != nil || v.Health != contracts.HealthHealthy || v.LastHeartbeat == nil || v.Interval.D() != 5*time.Second {
			t.Errorf("status %+v, %v", v, err)
		}
		r.expect("foo", "created", "state_changed healthy")
		stop()
		r.wait(40 * time.Second)
		r.expect("foo", "created", "state_changed healthy", "state_changed degraded",
			"failed heartbeat_timeout", "state_changed unhealthy")
		r.beat("foo", 5*time.Second, "")
		r.wait(time.Second)
		r.expect("foo", "created", "state_changed healthy", "state_changed degraded",
			"failed heartbeat_timeout", "state_changed unhealthy", "recovered heartbeat_timeout", "state_changed healthy")
		checkChain(r, "foo")
	})
}

// checkChain follows the causes from the recovery back to the failure.
func checkChain(r *rig, agent string) {
	r.t.Helper()
	var failed contracts.Event
	for _, ev := range r.events() {
		switch {
		case ev.Entity != agent:
		case ev.Type == contracts.AgentFailed:
			failed = ev
			d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
			if err != nil || d.Silence == nil || d.Silence.Phi < d.Silence.Threshold || d.Detail == "" || d.Silence.LastHeartbeat == nil {
				r.t.Errorf("evidence: %+v, %v", d, err)
			}
			if ev.CorrelationID != ev.ID || ev.CausationID != "" {
				r.t.Errorf("a failure begins a story of its own: %+v", ev)
			}
		case ev.Type == contracts.AgentRecovered:
			if ev.CausationID != failed.ID || ev.CorrelationID != failed.ID {
				r.t.Errorf("the recovery does not name the failure: %+v", ev)
			}
		}
	}
}

func TestStartDeadlineAndExits(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.started("mute", 1, 10*time.Second)
		r.started("exits", 1, 10*time.Second)
		stop := r.beat("exits", time.Second, `{"incarnation":1,"interval":"1s"}`)
		r.wait(9 * time.Second)
		r.expect("mute")
		stop()
		r.publish("runner/r1", contracts.AgentFailed, "exits", contracts.AgentFailedData{
			Agent: "exits", Incarnation: 1, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: 1},
		})
		r.wait(time.Minute)
		r.expect("mute", "failed no_first_heartbeat #1", "state_changed unhealthy #1")
		r.expect("exits", "state_changed healthy #1")
		r.started("exits", 2, 10*time.Second)
		stop = r.beat("exits", time.Second, `{"incarnation":2,"interval":"1s"}`)
		r.wait(30 * time.Second)
		stop()
		r.wait(30 * time.Second)
		r.expect("exits", "state_changed healthy #1", "state_changed healthy #2", "state_changed degraded #2",
			"failed heartbeat_timeout #2", "state_changed unhealthy #2")
	})
}

func TestHungThoughBeating(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		until := time.Now().Add(20 * time.Second).Format(time.RFC3339Nano)
		r.beat("h", time.Second, `{"interval":"1s","status":"busy","progress":4,"busy_until":"`+until+`"}`)
		r.wait(20 * time.Second)
		r.expect("h", "created", "state_changed healthy")
		r.wait(3 * time.Second)
		r.expect("h", "created", "state_changed healthy", "failed hung", "state_changed unhealthy")
	})
}

func TestOwnWatchdogRanOut(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		stop := r.beat("h", time.Second, `{"interval":"1s"}`)
		r.wait(10 * time.Second)
		stop()
		r.beat("h", time.Hour, `{"interval":"1s","status":"stuck","detail":"task t1 has made no progress for 30s"}`)
		r.wait(100 * time.Millisecond)
		r.expect("h", "created", "state_changed healthy", "failed hung", "state_changed unhealthy")
		if _, d := r.failure("h"); d.Detail != "its own watchdog ran out: task t1 has made no progress for 30s" || d.Silence.Rule != "watchdog" {
			t.Errorf("%+v", d)
		}
	})
}

func TestProbeConfirmsAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{FailureThreshold: 20, MinSamples: 1000})
		nc := r.s.Connect(r.t)
		if _, err := nc.Subscribe(contracts.AgentPingSubject("p"), func(m *nats.Msg) { _ = m.Respond([]byte(`{}`)) }); err != nil {
			t.Fatal(err)
		}
		stop := r.beatOn(nc, "p", time.Second, `{"interval":"1s"}`)
		r.beat("mute", time.Second, `{"interval":"1s"}`)
		r.wait(5 * time.Second)
		probe, err := call[contracts.ProbeReply](r, "probe", contracts.AgentRequest{Agent: "p"})
		if err != nil || probe.Answer != "ok" || probe.Health != contracts.HealthHealthy {
			t.Errorf("probe %+v, %v", probe, err)
		}
		probe, err = call[contracts.ProbeReply](r, "probe", contracts.AgentRequest{Agent: "mute"})
		if err != nil || probe.Answer != "no_responders" || probe.Health != contracts.HealthHealthy {
			t.Errorf("probe %+v, %v", probe, err)
		}
		stop()
		nc.Close()
		r.wait(11 * time.Second)
		r.expect("p", "created", "state_changed healthy", "state_changed degraded", "failed health_check_failed", "state_changed unhealthy")
		r.expect("mute", "created", "state_changed healthy")
	})
}

func TestDetectorRestartKeepsWhatItKnew(t *testing.T) {
	bubble(t, func(r *rig) {
		cfg := detector.Config{HeartbeatInterval: time.Second}
		stop := r.detect(cfg)
		r.started("expected", 3, 30*time.Second)
		r.started("beats", 1, 30*time.Second)
		ends := map[string]func(){}
		for _, a := range []string{"wild", "dead", "back", "leaver"} {
			ends[a] = r.beat(a, time.Second, `{"interval":"1s"}`)
		}
		r.beat("beats", time.Second, `{"incarnation":1,"interval":"1s"}`)
		r.wait(20 * time.Second)
		ends["leaver"]()
		r.wait(100 * time.Millisecond)
		_ = r.nc.Publish(contracts.HeartbeatSubject("leaver"), []byte(`{"status":"stopped"}`))
		ends["dead"]()
		ends["back"]()
		r.wait(8 * time.Second)
		dead := []string{"created", "state_changed healthy", "state_changed degraded", "failed heartbeat_timeout", "state_changed unhealthy"}
		r.expect("dead", dead...)
		stop()
		ends["wild"]()
		r.wait(time.Minute)
		r.detect(cfg)
		r.beat("back", time.Second, `{"interval":"1s"}`)
		r.wait(time.Minute)
		r.expect("dead", dead...)
		r.expect("back", append(dead, "recovered heartbeat_timeout", "state_changed healthy")...)
		checkChain(r, "back")
		r.expect("beats", "state_changed healthy #1", "state_changed healthy #1")
		r.expect("leaver", "created", "state_changed healthy", "state_changed unknown")
		r.expect("wild", "created", "state_changed healthy", "state_changed degraded", "failed heartbeat_timeout", "state_changed unhealthy")
		r.expect("expected", "state_changed degraded #3", "failed heartbeat_timeout #3", "state_changed unhealthy #3")
	})
}

func TestServerRestartAccusesNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		const agents = 40
		var conns []*nats.Conn
		for range 4 {
			conns = append(conns, r.s.Connect(r.t, nats.ReconnectBufSize(-1), nats.ReconnectWait(2*time.Second)))
		}
		for i := range agents {
			r.started(fmt.Sprint("a", i), 1, 10*time.Second)
			r.beatOn(conns[i%4], fmt.Sprint("a", i), 200*time.Millisecond, `{"incarnation":1,"interval":"200ms"}`)
		}
		r.wait(10 * time.Second)
		r.s.Down()
		r.wait(10 * time.Second)
		r.s.Up(r.t)
		r.wait(10 * time.Second)
		r.started("late", 1, 2*time.Second)
		r.wait(10 * time.Second)
		r.expect("late", "failed no_first_heartbeat #1", "state_changed unhealthy #1")
		told, over := false, false
		for _, ev := range r.events() {
			if ev.Type == contracts.AgentFailed && ev.Entity != "late" {
				t.Errorf("%s was declared failed: %s", ev.Entity, ev.Data)
			}
			told = told || ev.Type == contracts.SystemHealthCheckFailed
			over = over || told && ev.Type == contracts.SystemHealthCheckPassed
		}
		if !told || !over {
			t.Errorf("the detector said that it was cut off: %t, and that this was over: %t", told, over)
		}
		page, err := call[contracts.AgentsReply](r, "agents", contracts.AgentsRequest{Limit: 25, Health: contracts.HealthHealthy})
		if err != nil || len(page.Agents) != 25 || page.Total != agents+1 || page.Next == "" {
			t.Errorf("%d agents of %d, next %q, %v", len(page.Agents), page.Total, page.Next, err)
		}
		page, err = call[contracts.AgentsReply](r, "agents", contracts.AgentsRequest{After: page.Next, Type: "coder"})
		if err != nil || len(page.Agents) != 16 || page.Next != "" || page.Agents[0].Runner != "r1" {
			t.Errorf("second page: %d agents, next %q, %v", len(page.Agents), page.Next, err)
		}
	})
}

func TestMalformedHeartbeats(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.beat("good", time.Second, `{"interval":"1s"}`)
		for range 20 {
			for _, body := range []string{"{", `{"interval":5}`, `{"interval":"-1s"}`, `{"status":"dead"}`, strings.Repeat("x", 5000)} {
				_ = r.nc.Publish(contracts.HeartbeatSubject("bad"), []byte(body))
			}
			_ = r.nc.Publish("smith.heartbeat."+strings.Repeat("x", 100), nil)
			_ = r.nc.Publish("smith.heartbeat.host.example.org", nil)
			r.wait(time.Second)
		}
		r.expect("good", "created", "state_changed healthy")
		r.expect("bad")
		reports, counted := 0, 0
		for _, ev := range r.events() {
			if ev.Type != contracts.SystemMessageRejected {
				continue
			}
			reports++
			d, err := contracts.DecodeData[contracts.SystemRejectedData](ev)
			if err != nil {
				t.Error(err)
			}
			counted += 1 + d.Suppressed
		}
		if reports < 1 || reports > 3 || counted < 7 {
			t.Errorf("%d reports of %d of 140 bad heartbeats in 20 s", reports, counted)
		}
	})
}

func TestMonitoringByRequest(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		stop := r.beat("a", time.Second, `{"interval":"1s"}`)
		r.wait(5 * time.Second)
		if _, err := call[contracts.OK](r, "unmonitor", contracts.AgentRequest{Agent: "a"}); err != nil {
			t.Error(err)
		}
		stop()
		if _, err := call[contracts.OK](r, "monitor", contracts.MonitorRequest{Agent: "new", StartDeadline: contracts.Duration(3 * time.Second)}); err != nil {
			t.Error(err)
		}
		r.wait(time.Minute)
		r.expect("a", "created", "state_changed healthy", "state_changed unknown")
		r.expect("new", "failed no_first_heartbeat", "state_changed unhealthy")
		for name, c := range map[string]struct {
			verb, code string
			req        any
		}{
			"unknown agent":   {"status", contracts.CodeNotFound, contracts.AgentRequest{Agent: "nobody"}},
			"bad name":        {"probe", contracts.CodeBadRequest, contracts.AgentRequest{Agent: "a.b"}},
			"no name":         {"unmonitor", contracts.CodeBadRequest, contracts.AgentRequest{}},
			"bad interval":    {"monitor", contracts.CodeBadRequest, contracts.MonitorRequest{Agent: "a", Interval: 1}},
			"bad threshold":   {"monitor", contracts.CodeBadRequest, contracts.MonitorRequest{Agent: "a", Threshold: -1}},
			"unmonitor ghost": {"unmonitor", contracts.CodeNotFound, contracts.AgentRequest{Agent: "ghost"}},
			"huge page":       {"agents", contracts.CodeBadRequest, contracts.AgentsRequest{Limit: 1 << 20}},
		} {
			_, err := call[json.RawMessage](r, c.verb, c.req)
			var refused *shell.APIError
			if !errors.As(err, &refused) || refused.Code != c.code {
				t.Errorf("%s: %v, want code %s", name, err, c.code)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	c := detector.FromFile(config.Default())
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	err := detector.Config{Algorithm: "magic", PhiThreshold: -1, SamplingWindowSize: -1, ProbeTimeout: -1}.Validate()
	for _, want := range []string{"algorithm", "phi_threshold", "sampling_window_size", "probe_timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not complained about: %v", want, err)
		}
	}
	f := config.Default()
	f.FailureDetection.PhiThreshold = 6
	f.Tree.Root.Children = []config.Child{{Node: &config.Node{Children: []config.Child{
		{Agent: &config.Agent{Name: "own", Template: &config.Template{PhiThreshold: 9, FailureThreshold: 3}}},
		{Agent: &config.Agent{Name: "same", Template: &config.Template{PhiThreshold: 6, FailureThreshold: 3}}},
	}}}}
	c = detector.FromFile(f)
	if want := map[string]detector.AgentRules{"own": {PhiThreshold: 9}}; !cmp.Equal(want, c.Agents) || c.PhiThreshold != 6 {
		t.Errorf("%v, %g", c.Agents, c.PhiThreshold)
	}
}
