package detector_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// TestAgentsThatReportThemselvesDegraded: whoever looks for them finds them by their
// status and in a metric. It is no judgement of the detector: they beat, and are
// healthy.
func TestAgentsThatReportThemselvesDegraded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		for i, body := range []string{`{"status":"degraded"}`, `{"type":"degraded"}`, ``, `{"status":"busy"}`} {
			r.beat(fmt.Sprintf("a%d", i), time.Second, body)
		}
		ends := r.beat("ended", time.Second, `{"status":"degraded"}`)
		stop := r.beat("mended", time.Second, `{"status":"degraded"}`)
		r.wait(3 * time.Second)
		const metric = "smith_detector_agents_reporting"
		expect := func(status contracts.AgentStatus, want ...string) {
			t.Helper()
			reply, err := call[contracts.AgentsReply](r, "agents", contracts.AgentsRequest{Status: status})
			var names []string
			for _, v := range reply.Agents {
				names = append(names, v.Agent)
				if v.Status != status || v.Health != contracts.HealthHealthy {
					t.Errorf("%s is %s and says %s", v.Agent, v.Health, v.Status)
				}
			}
			if err != nil || !slices.Equal(names, want) || r.count(metric, string(status)) != float64(len(want)) {
				t.Errorf("%s: %v, %v, want %v; metric %g", status, names, err, want, r.count(metric, string(status)))
			}
			if status == contracts.StatusDegraded && reply.Degraded != len(want) {
				t.Errorf("%d counted, want %v", reply.Degraded, want)
			}
		}
		expect(contracts.StatusDegraded, "a0", "ended", "mended")
		expect(contracts.StatusRunning, "a1", "a2")
		expect(contracts.StatusBusy, "a3")
		expect(contracts.StatusStopped)
		stop()
		ends()
		r.beat("mended", time.Second, "")
		r.publish("runner/r1", contracts.AgentFailed, "ended", contracts.AgentFailedData{Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: 1}})
		r.wait(3 * time.Second)
		expect(contracts.StatusRunning, "a1", "a2", "mended")
		expect(contracts.StatusDegraded, "a0")
		var refused *shell.APIError
		if _, err := call[contracts.AgentsReply](r, "agents", contracts.AgentsRequest{Status: "ill"}); !errors.As(err, &refused) || refused.Code != contracts.CodeBadRequest {
			t.Errorf("an unknown status: %v", err)
		}
	})
}
