package detector_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// stored lists what the log has of some types, and fails when an id is there
// twice.
func (r *rig) stored(types ...contracts.EventType) []string {
	r.t.Helper()
	ids := map[string]bool{}
	var out []string
	for _, ev := range r.events() {
		if ids[ev.ID] {
			r.t.Errorf("%s about %s is stored twice", ev.Type, ev.Entity)
		}
		ids[ev.ID] = true
		if slices.Contains(types, ev.Type) {
			out = append(out, ev.Type.Name()+" "+ev.Entity)
		}
	}
	return out
}

// Three detectors watch one fleet: each verdict, each recovery and each finding
// is stored once, and each change of band too.
func TestReplicasCollapse(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 3 {
			r.detectAs(fmt.Sprint("detector-", i), r.s.Connect(r.t), detector.Config{})
		}
		r.wait(time.Second) // until they have heard each other
		ends := map[string]func(){}
		for i := range 12 {
			name := fmt.Sprint("a", i)
			r.started(name, 1, 10*time.Second)
			ends[name] = r.beat(name, time.Second, `{"incarnation":1,"interval":"1s"}`)
			r.wait(80 * time.Millisecond)
		}
		r.wait(30 * time.Second)
		for round := range 2 {
			for _, name := range []string{"a1", "a2", "a3"} {
				ends[name]()
				r.wait(15 * time.Second)
				ends[name] = r.beat(name, time.Second, `{"incarnation":1,"interval":"1s"}`)
				r.wait(10 * time.Second)
			}
			if got := r.stored(contracts.AgentFailed, contracts.AgentRecovered); len(got) != 6*(round+1) {
				t.Errorf("round %d: %d events: %q", round, len(got), got)
			}
		}
		r.consistentBands()
		if got := r.stored(contracts.AgentStateChanged); len(got) < 12+2*3*2 || len(got) > 12+2*3*3 {
			t.Errorf("%d changes of band, with one detector there are 12 + 2 × 3 × 3 at most: %q", len(got), got)
		}
		for _, stop := range ends {
			stop()
		}
		r.wait(time.Minute)
		if got := r.stored(contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver); len(got) != 2 {
			t.Errorf("%q", got)
		}
		if got := r.stored(contracts.AgentFailed); len(got) != 18 {
			t.Errorf("%d verdicts: %q", len(got), got)
		}
	})
}

// One of two detectors dies: what it would have found is found by the other at
// the same moment, and what it had found is taken back by the other.
func TestReplicaDies(t *testing.T) {
	bubble(t, func(r *rig) {
		lost := r.s.Connect(r.t)
		r.detectAs("detector-0", lost, detector.Config{})
		r.detectAs("detector-1", r.s.Connect(r.t), detector.Config{})
		early := r.beat("early", time.Second, `{"interval":"1s"}`)
		late := r.beat("late", time.Second, `{"interval":"1s"}`)
		r.wait(30 * time.Second)
		early()
		r.wait(10 * time.Second)
		lost.Close() // it says goodbye to nobody, like a process that is killed
		r.wait(100 * time.Millisecond)
		late()
		stopped := time.Now()
		r.wait(10 * time.Second)
		r.beat("early", time.Second, `{"interval":"1s"}`)
		r.wait(time.Second)
		if got := r.stored(contracts.AgentFailed, contracts.AgentRecovered); !slices.Equal(got, []string{"failed early", "failed late", "recovered early"}) {
			t.Errorf("%q", got)
		}
		ev, _ := r.failure("late")
		if took := ev.Time.Sub(stopped); took > 3*time.Second {
			t.Errorf("found %s after its end", took)
		}
	})
}

// What operators ordered holds after a restart, and for another detector.
func TestOrdersLast(t *testing.T) {
	bubble(t, func(r *rig) {
		stop := r.detect(detector.Config{})
		quiet := r.beat("quiet", time.Second, `{"interval":"1s"}`)
		strict := r.beat("strict", time.Second, `{"interval":"1s"}`)
		r.wait(5 * time.Second)
		for verb, req := range map[string]any{
			"unmonitor": contracts.AgentRequest{Agent: "quiet"},
			"monitor":   contracts.MonitorRequest{Agent: "strict", Threshold: 12},
		} {
			if _, err := call[contracts.OK](r, verb, req); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := call[contracts.OK](r, "monitor", contracts.MonitorRequest{Agent: "never", StartDeadline: contracts.Duration(time.Second)}); err != nil {
			t.Fatal(err)
		}
		r.wait(5 * time.Second)
		r.expect("never", "failed no_first_heartbeat", "state_changed unhealthy")
		stop()
		r.detectAs("detector-2", r.s.Connect(r.t), detector.Config{})
		r.wait(5 * time.Second)
		v, err := call[contracts.AgentView](r, "status", contracts.AgentRequest{Agent: "strict"})
		if err != nil || v.Threshold != 12 {
			t.Errorf("%+v, %v", v, err)
		}
		quiet()
		strict()
		r.wait(time.Minute)
		r.expect("quiet", "created", "state_changed healthy", "state_changed unknown")
		if _, d := r.failure("strict"); d.Silence == nil || d.Silence.Threshold != 12 {
			t.Errorf("%+v", d)
		}
		r.expect("never", "failed no_first_heartbeat", "state_changed unhealthy")
	})
}
