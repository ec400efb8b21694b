package detector_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// count is a counter or gauge of the detector's, the one with a label's value if not "".
func (r *rig) count(name, value string) (n float64) {
	r.t.Helper()
	all, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if value == "" || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == value {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// More heartbeats arrive at once than the client may keep, and it drops some,
// of living agents too: nobody is accused, also when verdicts were about to be
// told, and the doubt is counted and told. Who is dead is found afterwards.
func TestDroppedHeartbeatsAreNobodysSilence(t *testing.T) {
	bubble(t, func(r *rig) {
		d := newDam(r.s)
		nc := r.s.Connect(t, nats.InProcessServer(d), nats.PingInterval(time.Hour), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		r.detectAs("detector-1", nc, detector.Config{MaxUnread: 25, PhiThreshold: 2})
		agents := r.s.Connect(r.t)
		const living = 40
		var dies func()
		for i := range living {
			dies = r.beatOn(agents, fmt.Sprint("a", i), 100*time.Millisecond, `{"interval":"100ms"}`)
		}
		r.wait(20 * time.Second)
		floods := []time.Duration{80 * time.Millisecond, 130 * time.Millisecond, 180 * time.Millisecond, 230 * time.Millisecond, time.Second, 3 * time.Second}
		lost := 0.0
		for n, shut := range slices.Concat(floods, floods) {
			d.set(true)
			for range 3000 {
				_ = agents.Publish(contracts.HeartbeatSubject(fmt.Sprint("chatter", n)), []byte(`{"status":"stopped"}`))
			}
			_ = agents.Flush()
			r.wait(shut)
			d.set(false)
			r.wait(12 * time.Second)
			if got := r.stored(contracts.AgentFailed); len(got) > 0 {
				t.Fatalf("after %s: accused %q", shut, got)
			}
			now := r.count("smith_detector_heartbeats_dropped_total", "")
			if now <= lost {
				t.Errorf("no heartbeat was dropped after %s", shut)
			}
			lost = now
		}
		if n := r.count("smith_detector_doubts_total", "drops"); n < float64(2*len(floods)) {
			t.Errorf("%g doubts on account of drops", n)
		}
		checks := r.checks()
		for _, want := range []string{"health_check_failed drops", "health_check_passed drops"} {
			if !slices.Contains(checks, want) {
				t.Errorf("it did not say %q but %q", want, checks)
			}
		}
		dies()
		r.wait(3 * time.Second)
		if got := r.stored(contracts.AgentFailed); len(got) != 1 || got[0] != fmt.Sprintf("failed a%d", living-1) {
			t.Errorf("one died, it told of %q", got)
		}
	})
}
