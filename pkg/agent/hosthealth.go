package agent

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// attend watches a hosted agent until it ends or passes a bound of its health that
// holds for goroutines, too. It returns the reason and the evidence, if it passed one.
func (r *hosting) attend(a *hosted, p *printed) (reason contracts.FailureReason, verdict string) {
	if a.cmd.Health == nil {
		return "", ""
	}
	within, runtime := a.cmd.Health.OutputWithin.D(), a.cmd.Health.MaxRuntime.D()
	for {
		now := time.Now()
		age, silence := now.Sub(a.began), now.Sub(p.latest())
		switch {
		case within > 0 && silence >= within:
			return contracts.ReasonOutputSilent, fmt.Sprintf("it printed nothing for %s; output_within is %s", silence.Round(time.Second), within)
		case runtime > 0 && age >= runtime:
			return contracts.ReasonMaxRuntime, fmt.Sprintf("it has run for %s; max_runtime is %s", age.Round(time.Second), runtime)
		}
		next := time.Duration(1<<63 - 1)
		if within > 0 {
			next = within - silence
		}
		if runtime > 0 {
			next = min(next, runtime-age)
		}
		select {
		case <-time.After(next):
		case <-a.done:
			return "", ""
		}
	}
}

// tellUnwell reports an agent that does not work, though its goroutine lives: whoever
// supervises it decides. One that was ordered to end is none.
func (r *hosting) tellUnwell(a *hosted, reason contracts.FailureReason, verdict string) {
	r.mu.Lock()
	ordered := a.order != nil || a.exit != nil || r.stopping
	r.mu.Unlock()
	if ordered {
		return
	}
	r.log.Warn("agent does not work", "agent", a.cmd.Agent, "incarnation", a.cmd.Incarnation, "reason", string(reason), "error", verdict)
	r.report(r.event(contracts.AgentFailed, a, time.Now(), "agent.condemned").Data(contracts.AgentFailedData{
		Agent: a.cmd.Agent, Incarnation: a.cmd.Incarnation, Runner: r.Name, Type: a.cmd.Type, Reason: reason, Detail: verdict,
	}).Build())
}
