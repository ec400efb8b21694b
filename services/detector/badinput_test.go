package detector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// Absurd intervals and numbers that go back do no harm to the agent that sends
// them, nor does a time of day from another age.
func TestAbsurdHeartbeats(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		bodies := []string{
			`{"interval":"1s","seq":100}`, `{"interval":"0s","seq":99}`, `{"interval":"8760h","seq":101}`, `{"interval":"-1s"}`,
			`{"interval":"1s","seq":7}`, `{"interval":"1s","seq":18446744073709551615}`, `{"interval":"1s","seq":1,"busy_until":"0001-01-01T00:00:00Z"}`,
			`{"interval":"1s","busy_until":"9999-12-31T23:59:59Z"}`, `{"incarnation":18446744073709551615,"interval":"1s"}`,
		}
		for round := range 20 {
			for _, body := range bodies[:len(bodies)-1] {
				_ = r.nc.Publish(contracts.HeartbeatSubject("odd"), []byte(body))
				_ = r.nc.Publish(contracts.HeartbeatSubject("odd"), []byte(`{"interval":"1s"}`))
				r.wait(time.Second)
			}
			_ = r.nc.Publish(contracts.HeartbeatSubject(fmt.Sprint("last", round)), []byte(bodies[len(bodies)-1]))
		}
		v, err := call[contracts.AgentView](r, "status", contracts.AgentRequest{Agent: "odd"})
		if err != nil || v.Health != contracts.HealthHealthy || v.Interval.D() != time.Second {
			t.Errorf("%+v, %v", v, err)
		}
		if _, d := r.failure("odd"); d.Agent != "" {
			t.Errorf("accused: %+v", d)
		}
	})
}

// An old incarnation that beats on keeps nobody alive, and is no news.
func TestOldIncarnationBeatsOn(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.started("a", 1, 10*time.Second)
		r.beat("a", time.Second, `{"incarnation":1,"interval":"1s"}`)
		r.wait(20 * time.Second)
		r.started("a", 2, 10*time.Second)
		second := r.beat("a", time.Second, `{"incarnation":2,"interval":"1s"}`)
		r.wait(20 * time.Second)
		second()
		r.wait(20 * time.Second)
		r.expect("a", "state_changed healthy #1", "state_changed healthy #2", "state_changed degraded #2",
			"failed heartbeat_timeout #2", "state_changed unhealthy #2")
	})
}
