package detector_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// announced is a start by runner r1 of an agent that may take 3 s to end.
func (r *rig) announced(agent, heartbeats string) {
	r.t.Helper()
	r.publish("runner/r1", contracts.AgentStarted, agent, contracts.AgentStartedData{
		Agent: agent, Incarnation: 1, Runner: "r1", Type: "coder", Interval: contracts.Duration(time.Second),
		ShutdownTimeout: contracts.Duration(3 * time.Second), Heartbeats: heartbeats,
	})
}

// runner is runner r1 until stop is called: it beats, and says what state each
// agent is in.
func (r *rig) runner(states map[string]contracts.AgentState) (stop func()) {
	r.t.Helper()
	beats := r.beat("r1", time.Second, `{"type":"runner","interval":"1s"}`)
	sub, err := r.nc.Subscribe(contracts.RunnerSubject("r1", "list"), func(m *nats.Msg) {
		var cmd contracts.ListCommand
		if err := json.Unmarshal(m.Data, &cmd); err != nil {
			r.t.Error(err)
		}
		list := contracts.RunnerList{Runner: "r1", Agents: []contracts.RunnerAgent{}}
		if state := states[cmd.Agent]; state != "" {
			list.Agents = append(list.Agents, contracts.RunnerAgent{Agent: cmd.Agent, Incarnation: 1, State: state})
		}
		body, err := json.Marshal(list)
		if err != nil {
			r.t.Error(err)
		}
		_ = m.Respond(body)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return func() { beats(); _ = sub.Unsubscribe() }
}

// An agent that says that it stops has the time that it was started with. Then it
// is failed, unless its runner says that the stop was ordered: the runner ends it
// in the time of the order.
func TestAgentThatStopsAndDoesNotEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.wait(6 * time.Second)
		states := map[string]contracts.AgentState{"hangs": contracts.AgentRunning, "silent": contracts.AgentRunning, "ordered": contracts.AgentStopping}
		r.runner(states)
		for name := range states {
			r.announced(name, "")
			r.beat(name, time.Second, `{"incarnation":1,"interval":"1s"}`)()
			if name != "silent" {
				r.beat(name, time.Second, `{"incarnation":1,"interval":"1s","status":"stopping"}`)
			} else {
				r.beat(name, time.Second, `{"incarnation":1,"interval":"1s","status":"stopped"}`)()
			}
		}
		r.wait(2500 * time.Millisecond)
		reply, err := call[contracts.ExplainReply](r, "explain", contracts.AgentRequest{Agent: "hangs"})
		v := reply.View
		if err != nil || v.Stopping.D() < 2*time.Second || v.MayStop.D() != 3*time.Second || v.Silence.D() > time.Second || v.Rule != "shutdown_timeout" {
			t.Errorf("%+v, %v", v, err)
		}
		r.wait(20 * time.Second)
		for _, name := range []string{"hangs", "silent"} {
			r.expect(name, "state_changed healthy #1", "state_changed unknown #1", "failed stopping_timeout #1", "state_changed unhealthy #1")
		}
		r.expect("ordered", "state_changed healthy #1", "state_changed unknown #1")
		failed, err := call[contracts.AgentView](r, "status", contracts.AgentRequest{Agent: "hangs"})
		if err != nil || failed.Failure != contracts.ReasonStoppingTimeout || failed.Stopping != 0 {
			t.Errorf("%+v, %v", failed, err)
		}
	})
}

// A runner is away, for one agent or several, and comes back: agents for which it
// beats are not accused, and are as before. One that hangs is found at once.
func TestAgentsOfARunnerThatIsAway(t *testing.T) {
	for _, away := range []time.Duration{3 * time.Second, 14 * time.Second, time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.detect(detector.Config{})
				states := map[string]contracts.AgentState{}
				names := []string{"a", "b", "c"}
				for _, name := range names {
					states[name] = contracts.AgentRunning
					r.announced(name, contracts.HeartbeatsByRunner)
				}
				var stops []func()
				up := func() {
					for _, name := range names {
						stops = append(stops, r.beat(name, time.Second, `{"incarnation":1,"interval":"1s","runner":"r1"}`))
					}
					stops = append(stops, r.runner(states))
				}
				up()
				r.wait(time.Minute)
				for _, stop := range stops {
					stop()
				}
				stops = nil
				r.wait(away)
				v, err := call[contracts.AgentView](r, "status", contracts.AgentRequest{Agent: "a"})
				if err != nil || !v.AwaitsRunner {
					t.Errorf("%+v, %v", v, err)
				}
				up()
				r.wait(30 * time.Second)
				for _, name := range names {
					r.expect(name, "state_changed healthy #1", "state_changed degraded #1", "state_changed healthy #1")
				}
				stops[0]() // a hangs
				r.wait(6 * time.Second)
				if got := r.stored(contracts.AgentFailed); fmt.Sprint(got) != "[failed r1 failed a]" {
					t.Errorf("failed: %q", got)
				}
			})
		})
	}
}

// A detector that starts while a runner is away accuses nobody for whom the runner
// beats, which it knows from the log alone.
func TestDetectorThatStartsWhileARunnerIsAway(t *testing.T) {
	bubble(t, func(r *rig) {
		r.announced("a", contracts.HeartbeatsByRunner)
		r.wait(time.Minute)
		r.detect(detector.Config{})
		r.wait(time.Minute)
		r.expect("a", "state_changed degraded #1")
		r.runner(map[string]contracts.AgentState{"a": contracts.AgentRunning})
		r.wait(time.Minute)
		r.expect("a", "state_changed degraded #1", "failed heartbeat_timeout #1", "state_changed unhealthy #1")
	})
}
