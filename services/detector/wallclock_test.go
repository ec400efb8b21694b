package detector_test

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// The wall clocks of the detector and of those who tell of starts are hours
// apart, as after a step of either. An agent still has its start deadline, no
// less and no more, whether the detector hears of the start as it happens or
// finds it in the log; and silence is found by no wall clock at all.
func TestWallClocksApart(t *testing.T) {
	for _, apart := range []time.Duration{-6 * time.Hour, -3 * time.Minute, 3 * time.Minute, 6 * time.Hour} {
		t.Run(apart.String(), func(t *testing.T) {
			bubble(t, func(r *rig) {
				started := func(agent string) {
					r.publishAt(time.Now().Add(apart), "runner/r1", contracts.AgentStarted, agent, contracts.AgentStartedData{
						Agent: agent, Incarnation: 1, Runner: "r1", Type: "coder", Interval: contracts.Duration(time.Second), StartDeadline: contracts.Duration(30 * time.Second),
					})
				}
				stop := r.detect(detector.Config{})
				r.wait(6 * time.Second) // its grace
				started("slow")
				started("never")
				r.wait(20 * time.Second)
				r.expect("slow")
				dies := r.beat("slow", time.Second, `{"incarnation":1,"interval":"1s"}`)
				r.wait(9500 * time.Millisecond)
				r.expect("never")
				r.wait(time.Second)
				r.expect("never", "failed no_first_heartbeat #1", "state_changed unhealthy #1")
				dies()
				r.wait(4 * time.Second)
				r.expect("slow", "state_changed healthy #1", "state_changed degraded #1", "failed heartbeat_timeout #1", "state_changed unhealthy #1")

				stop()
				started("logged")
				r.wait(5 * time.Second)
				r.detectAs("detector-2", r.s.Connect(t), detector.Config{})
				r.wait(23 * time.Second)
				r.expect("logged")
				r.wait(10 * time.Second)
				r.expect("logged", "failed heartbeat_timeout #1", "state_changed unhealthy #1")
			})
		})
	}
}
