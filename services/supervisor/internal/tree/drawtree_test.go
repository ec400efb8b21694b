package tree

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

func drawTree(t *rapid.T) []*Spec {
	delays := backoff.Delays{Type: backoff.Exponential, Delay: time.Duration(rapid.IntRange(0, 2).Draw(t, "delay")) * 100 * time.Millisecond, Base: 2, Max: time.Second, Jitter: 0.2, Reset: time.Minute}
	var specs []*Spec
	var sup func(id, parent string, depth int)
	sup = func(id, parent string, depth int) {
		strategy := rapid.SampledFrom([]Strategy{OneForOne, OneForAll, RestForOne, Escalate}).Draw(t, id+" strategy")
		escalations := []Escalation{ToParent, CoolOff, ToParent, Ignore, Terminate}
		if strategy == OneForOne {
			escalations = append(escalations, Isolate, Isolate, Isolate)
		}
		escalation := rapid.SampledFrom(escalations).Draw(t, id+" escalation")
		restart := rapid.SampledFrom([]Restart{Permanent, Permanent, Transient, Temporary}).Draw(t, id+" restart")
		if parent == "" {
			restart = Permanent
			if escalation != Isolate {
				escalation = CoolOff
			}
		}
		specs = append(specs, &Spec{ID: id, Parent: parent, Restart: restart, Backoff: delays, Supervisor: &Supervisor{
			Strategy:    strategy,
			MaxRestarts: rapid.IntRange(0, 3).Draw(t, id+" limit"), Period: time.Minute,
			AutoShutdown: rapid.SampledFrom([]AutoShutdown{Never, AnySignificant, AllSignificant}).Draw(t, id+" auto"),
			Escalation:   escalation, CoolOff: 3 * time.Second, MaxCoolOff: 5 * time.Second,
		}})
		auto := specs[len(specs)-1].Supervisor.AutoShutdown != Never
		for i := range rapid.IntRange(0, 3).Draw(t, id+" children") {
			kid := fmt.Sprintf("%s%d", id, i)
			if depth > 0 && rapid.IntRange(0, 2).Draw(t, kid+" is supervisor") == 0 {
				sup(kid, id, depth-1)
				continue
			}
			r := rapid.SampledFrom([]Restart{Permanent, Permanent, Permanent, Transient, Temporary}).Draw(t, kid+" restart")
			specs = append(specs, &Spec{
				ID: kid, Parent: id, Restart: r, Backoff: delays, ShutdownTimeout: time.Second,
				Significant: auto && r != Permanent && rapid.Bool().Draw(t, kid+" significant"),
				Agent: &Agent{
					Runner: AnyRunner, Verify: rapid.Bool().Draw(t, kid+" verify"),
					StartDeadline: 2 * time.Second, Stabilisation: 500 * time.Millisecond,
				},
			})
		}
	}
	sup("n", "", 2)
	return specs
}
