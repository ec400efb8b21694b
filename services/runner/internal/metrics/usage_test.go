package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func using(n int) (list []contracts.RunnerAgent) {
	for i := range n {
		list = append(list, contracts.RunnerAgent{Agent: fmt.Sprintf("a%d", i), Usage: &contracts.Usage{
			Uptime: contracts.Duration(time.Hour), CPU: contracts.Duration(1500 * time.Millisecond), Memory: 1 << 20, Processes: 2,
		}})
	}
	return list
}

func TestUsageOfEachAgentAndOfAll(t *testing.T) {
	t.Parallel()
	list := append(using(2), contracts.RunnerAgent{Agent: "goroutine"})
	u := NewUsage("r1", func() []contracts.RunnerAgent { return list })
	const want = `
# HELP smith_runner_agent_cpu_seconds_total Processor time of an agent and its descendants.
# TYPE smith_runner_agent_cpu_seconds_total counter
smith_runner_agent_cpu_seconds_total{agent="a0",runner="r1"} 1.5
smith_runner_agent_cpu_seconds_total{agent="a1",runner="r1"} 1.5
# HELP smith_runner_agents_measured Agents whose usage is known.
# TYPE smith_runner_agents_measured gauge
smith_runner_agents_measured{runner="r1"} 2
# HELP smith_runner_agents_memory_bytes Memory of all agents.
# TYPE smith_runner_agents_memory_bytes gauge
smith_runner_agents_memory_bytes{runner="r1"} 2.097152e+06
`
	if err := testutil.CollectAndCompare(u, strings.NewReader(want), "smith_runner_agent_cpu_seconds_total", "smith_runner_agents_measured", "smith_runner_agents_memory_bytes"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(u); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestManyAgentsAreToldTogether(t *testing.T) {
	t.Parallel()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewUsage("r1", func() []contracts.RunnerAgent { return using(MaxAgents + 1) }))
	r.MustRegister(NewUsage("r2", func() []contracts.RunnerAgent { return using(MaxAgents) }))
	for name, want := range map[string]int{"smith_runner_agent_memory_bytes": MaxAgents, "smith_runner_agents_memory_bytes": 2} {
		if got := testutil.CollectAndCount(r, name); got != want {
			t.Errorf("%d series of %s, want %d", got, name, want)
		}
	}
}
