package agent_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// The bounds of health that need no process hold on a host, too. An agent that passes
// one is reported once; it is for its supervisor to end it.
func TestHostBoundsSilenceAndAge(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host(func(h *agent.Host) {
			h.Funcs["talker"] = func(ctx context.Context, o agent.Options) error {
				for n := 0; ; n++ {
					fmt.Fprintln(o.Output, n)
					select {
					case <-time.After(4 * time.Second):
					case <-ctx.Done():
						return nil
					}
				}
			}
		})
		bounds := func(c *contracts.StartCommand) {
			c.Health = &contracts.HealthSpec{OutputWithin: contracts.Duration(5 * time.Second), MaxRuntime: contracts.Duration(20 * time.Second)}
		}
		for _, f := range []string{"talker", "silent", "short"} {
			w.wantCode(f, w.start(f, 1, f, bounds), contracts.RunnerOK)
		}
		for _, want := range []struct {
			agent  string
			reason contracts.FailureReason
			detail string
			after  time.Duration
		}{
			{"silent", contracts.ReasonOutputSilent, "it printed nothing for 5s; output_within is 5s", 5 * time.Second},
			{"talker", contracts.ReasonMaxRuntime, "it has run for 20s; max_runtime is 20s", 20 * time.Second},
		} {
			e := w.log("smith.event.agent.failed."+want.agent, 1)[0]
			d := data[contracts.AgentFailedData](t, e)
			started := w.log("smith.event.agent.started."+want.agent, 1)[0]
			if after := e.Time.Sub(started.Time).Round(time.Second); d.Reason != want.reason || d.Detail != want.detail || d.Exit != nil || after != want.after || d.Runner != "h" {
				t.Errorf("%s: %+v after %s", want.agent, d, after)
			}
			w.wantCode("stop", w.stop(want.agent, 1, true), contracts.RunnerOK)
			w.log("smith.event.agent.stopped."+want.agent, 1)
		}
		<-time.After(time.Hour)
		if n := w.count("smith.event.agent.failed.*"); n != 2 {
			t.Errorf("%d failures were reported", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
