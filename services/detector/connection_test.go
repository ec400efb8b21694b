package detector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// named connects as the agent's own program would.
func (r *rig) named(agent string, incarnation uint64) *nats.Conn {
	return r.s.Connect(r.t, nats.Name(contracts.HeartbeatConnection(agent, incarnation)), nats.NoReconnect())
}

// failure gives the first verdict on an agent.
func (r *rig) failure(agent string) (contracts.Event, contracts.AgentFailedData) {
	r.t.Helper()
	for _, ev := range r.events() {
		if ev.Type == contracts.AgentFailed && ev.Entity == agent {
			d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
			if err != nil {
				r.t.Fatal(err)
			}
			return ev, d
		}
	}
	return contracts.Event{}, contracts.AgentFailedData{}
}

// A killed process takes its connection along: it is found within half an
// interval, whenever in the interval it died, and long before its silence says
// anything.
func TestLostConnection(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		for _, c := range []struct {
			agent    string
			interval time.Duration
			phase    time.Duration
		}{
			{"slow", 4 * time.Second, 3 * time.Second},
			{"usual", time.Second, 100 * time.Millisecond},
			{"quick", 200 * time.Millisecond, 50 * time.Millisecond},
		} {
			nc := r.named(c.agent, 3)
			stop := r.beatOn(nc, c.agent, c.interval, fmt.Sprintf(`{"incarnation":3,"interval":%q}`, c.interval))
			r.wait(10*c.interval + c.phase)
			killed := time.Now()
			nc.Close()
			stop()
			r.wait(c.interval)
			ev, d := r.failure(c.agent)
			if d.Reason != contracts.ReasonConnectionLost || d.Incarnation != 3 || d.Silence == nil || d.Silence.Rule != "connection" || d.Silence.Elapsed.D() > 2*c.interval {
				t.Errorf("%s: %+v %+v", c.agent, d, d.Silence)
				continue
			}
			took := ev.Time.Sub(killed)
			t.Logf("%s: interval %s, found %s after the kill", c.agent, c.interval, took)
			if took > c.interval*6/10+50*time.Millisecond {
				t.Errorf("%s: found %s after the kill at an interval of %s", c.agent, took, c.interval)
			}
		}
	})
}

// A connection that is cut and comes back in time is no failure; one of somebody
// else, or of an older life, says nothing.
func TestConnectionBackInTime(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		beats := `{"incarnation":2,"interval":"1s"}`
		first := r.named("cut", 2)
		stop := r.beatOn(first, "cut", time.Second, beats)
		old := r.named("moved", 1)
		r.beat("moved", time.Second, beats)
		stranger := r.s.Connect(r.t, nats.Name("cut"), nats.NoReconnect())
		r.wait(10500 * time.Millisecond)
		first.Close()
		old.Close()
		stranger.Close()
		stop()
		r.wait(200 * time.Millisecond)
		r.beatOn(r.named("cut", 2), "cut", time.Second, beats)
		r.wait(time.Minute)
		r.expect("cut", "state_changed healthy #2", "created #2")
		r.expect("moved", "state_changed healthy #2", "created #2")
	})
}

// Two processes under one name are reported once, with both connections.
func TestConflict(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		for i, from := range []int{1, 500} {
			nc := r.named("twin", 1)
			r.wait(time.Duration(i) * 300 * time.Millisecond)
			done := make(chan struct{})
			go func() {
				next := time.NewTicker(time.Second)
				defer next.Stop()
				for seq := from; ; seq++ {
					_ = nc.Publish(contracts.HeartbeatSubject("twin"), fmt.Appendf(nil, `{"incarnation":1,"interval":"1s","seq":%d}`, seq))
					select {
					case <-done:
						return
					case <-next.C:
					}
				}
			}()
			r.t.Cleanup(func() { close(done) })
		}
		// One that is restarted again and again by somebody else is no conflict.
		for range 10 {
			for seq := range 4 {
				_ = r.nc.Publish(contracts.HeartbeatSubject("restarts"), fmt.Appendf(nil, `{"interval":"1s","seq":%d}`, seq+1))
				r.wait(time.Second)
			}
		}
		var found []contracts.AgentConflictData
		for _, ev := range r.events() {
			if ev.Type == contracts.AgentConflict {
				d, err := contracts.DecodeData[contracts.AgentConflictData](ev)
				if err != nil {
					t.Error(err)
				}
				found = append(found, d)
			}
		}
		if len(found) != 1 || found[0].Agent != "twin" || len(found[0].Connections) != 2 || found[0].Connections[0].Name != "smith.heartbeat.twin#1" || found[0].Connections[0].ID == found[0].Connections[1].ID {
			t.Errorf("%+v", found)
		}
	})
}
