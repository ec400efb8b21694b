package detector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// crowd lets agents of one runner beat on one connection, as regularly as
// clocks, spread over the interval.
func (r *rig) crowd(nc *nats.Conn, prefix string, n int) (stop func()) {
	stops := make([]func(), n)
	for i := range n {
		name := fmt.Sprintf("%s-%02d", prefix, i)
		r.publish("runner/"+prefix, contracts.AgentStarted, name, contracts.AgentStartedData{
			Agent: name, Incarnation: 1, Runner: prefix, Type: "coder", Interval: contracts.Duration(time.Second),
		})
		stops[i] = r.beatOn(nc, name, time.Second, `{"incarnation":1,"interval":"1s"}`)
		r.wait(time.Second / time.Duration(n))
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}
}

// tally counts the detector's events by type, and those about groups in words.
func (r *rig) tally() (count map[contracts.EventType]int, groups []string) {
	r.t.Helper()
	count = map[contracts.EventType]int{}
	for _, ev := range r.events() {
		count[ev.Type]++
		if ev.Type != contracts.SystemCorrelatedSilence && ev.Type != contracts.SystemCorrelatedSilenceOver {
			continue
		}
		d, err := contracts.DecodeData[contracts.CorrelatedSilenceData](ev)
		if err != nil {
			r.t.Fatal(err)
		}
		line := fmt.Sprintf("%s %s %s %d/%d", ev.Type.Name(), d.Kind, d.Name, d.Silent, d.Size)
		if ev.Type == contracts.SystemCorrelatedSilenceOver {
			line += fmt.Sprintf(": %d back, %d proven, %d released", d.Back, d.Proven, d.Released)
		}
		groups = append(groups, line)
	}
	return count, groups
}

// A host is cut off while others live: its runner is named, hardly a verdict is
// told, and when it is back nobody was restarted for nothing.
func TestPartitionOfAHost(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.crowd(r.s.Connect(r.t), "r1", 40)
		stop := r.crowd(r.s.Connect(r.t), "r2", 30)
		r.wait(30 * time.Second)
		stop()
		r.wait(10 * time.Second)
		count, groups := r.tally()
		if len(groups) != 1 || groups[0] != "correlated_silence runner r2 30/30" {
			t.Errorf("%q", groups)
		}
		if n := count[contracts.AgentFailed]; n > 4 {
			t.Errorf("%d verdicts in the storm", n)
		}
		held := 0
		page, err := call[contracts.AgentsReply](r, "agents", contracts.AgentsRequest{})
		for _, a := range page.Agents {
			if a.Held {
				held++
			}
		}
		if err != nil || held < 26 {
			t.Errorf("%d agents are shown as held, %v", held, err)
		}
		for i := range 30 {
			r.beat(fmt.Sprintf("r2-%02d", i), time.Second, `{"incarnation":1,"interval":"1s"}`)
		}
		r.wait(30 * time.Second)
		count, groups = r.tally()
		if n := count[contracts.AgentFailed]; n > 4 || n != count[contracts.AgentRecovered] {
			t.Errorf("%d verdicts, %d taken back", n, count[contracts.AgentRecovered])
		}
		if want := fmt.Sprintf("correlated_silence_over runner r2 30/30: %d back, 0 proven, 0 released", held); len(groups) != 2 || groups[1] != want {
			t.Errorf("%q, want %q", groups, want)
		}
		r.consistentBands()
	})
}

// consistentBands follows every agent's health through the log: each change
// begins where the last one ended.
func (r *rig) consistentBands() {
	r.t.Helper()
	last := map[string]contracts.Health{}
	for _, ev := range r.events() {
		if ev.Type != contracts.AgentStateChanged {
			continue
		}
		d, err := contracts.DecodeData[contracts.AgentStateChangedData](ev)
		if err != nil {
			r.t.Fatal(err)
		}
		if was, known := last[ev.Entity]; known && was != d.From {
			r.t.Errorf("%s went from %s, but was %s", ev.Entity, d.From, was)
		}
		last[ev.Entity] = d.To
	}
}

// A host is gone for good: after the hold the verdicts come one by one, and name
// the finding as their cause.
func TestHostGoneForGood(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{Correlation: detector.Correlation{Hold: 10 * time.Second, ReleaseRate: 5}})
		r.crowd(r.s.Connect(r.t), "r1", 40)
		stop := r.crowd(r.s.Connect(r.t), "r2", 30)
		r.wait(30 * time.Second)
		stop()
		r.wait(time.Minute)
		var finding contracts.Event
		released := 0
		var times []time.Time
		for _, ev := range r.events() {
			switch ev.Type {
			case contracts.SystemCorrelatedSilence:
				finding = ev
			case contracts.AgentFailed:
				d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
				if err != nil || d.Runner != "r2" || d.Reason != contracts.ReasonHeartbeatTimeout {
					t.Errorf("%+v, %v", d, err)
				}
				if d.Held == 0 {
					continue
				}
				released++
				times = append(times, ev.Time)
				if ev.CausationID != finding.ID || d.Held.D() < 9*time.Second || d.Held.D() > 20*time.Second || d.Silence.Elapsed < d.Held {
					t.Errorf("held for %s, caused by %q, silent for %s", d.Held, ev.CausationID, d.Silence.Elapsed)
				}
			}
		}
		count, groups := r.tally()
		if released < 26 || count[contracts.AgentFailed] != 30 {
			t.Errorf("%d verdicts, %d of them had been held", count[contracts.AgentFailed], released)
		}
		for i := 6; i < len(times); i++ {
			if d := times[i].Sub(times[i-6]); d < 900*time.Millisecond {
				t.Errorf("6 verdicts within %s at 5 per second", d)
			}
		}
		if want := fmt.Sprintf("correlated_silence_over runner r2 30/30: 0 back, 0 proven, %d released", released); len(groups) != 2 || groups[1] != want {
			t.Errorf("%q", groups)
		}
		r.consistentBands()
	})
}

// What is proven is never held: exits of a whole host, and pings that nobody
// answers.
func TestProofIsNeverHeld(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.crowd(r.s.Connect(r.t), "r1", 20)
		nc := r.s.Connect(r.t)
		for i := range 20 {
			if _, err := nc.Subscribe(contracts.AgentPingSubject(fmt.Sprintf("r2-%02d", i)), func(m *nats.Msg) { _ = m.Respond([]byte(`{"incarnation":1}`)) }); err != nil {
				t.Fatal(err)
			}
		}
		stop := r.crowd(nc, "r2", 20)
		r.wait(5 * time.Second) // young: degraded long before a verdict is due
		stop()
		nc.Close()
		r.wait(4 * time.Second)
		for _, ev := range r.events() {
			if ev.Type != contracts.AgentFailed {
				continue
			}
			d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
			if err != nil || d.Reason != contracts.ReasonHealthCheckFailed || d.Held != 0 || d.Silence == nil || d.Silence.Rule != "probe" {
				t.Errorf("%+v, %v", d, err)
			}
		}
		if count, _ := r.tally(); count[contracts.AgentFailed] != 20 {
			t.Errorf("%d verdicts, want 20 at once", count[contracts.AgentFailed])
		}
	})
}

// A verdict that is held is not told when an exit proves the end meanwhile.
func TestExitWithdrawsAHeldVerdict(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.crowd(r.s.Connect(r.t), "r1", 20)
		stop := r.crowd(r.s.Connect(r.t), "r2", 20)
		r.wait(20 * time.Second)
		stop()
		r.wait(5 * time.Second)
		before, _ := r.tally()
		for i := range 20 {
			name := fmt.Sprintf("r2-%02d", i)
			r.publish("runner/r2", contracts.AgentFailed, name, contracts.AgentFailedData{
				Agent: name, Incarnation: 1, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: -1, Unknown: true},
			})
		}
		r.wait(time.Minute)
		count, groups := r.tally()
		if count[contracts.AgentFailed] != before[contracts.AgentFailed] {
			t.Errorf("%d verdicts, %d before the exits were known", count[contracts.AgentFailed], before[contracts.AgentFailed])
		}
		if want := "correlated_silence_over runner r2 20/20: 0 back, 20 proven, 0 released"; len(groups) != 2 || groups[1] != want {
			t.Errorf("%q", groups)
		}
	})
}
