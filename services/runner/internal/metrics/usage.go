package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// MaxAgents is how many agents have metrics of their own: a runner with more tells only
// what all of them use together.
const MaxAgents = 1000

// Usage tells what agents use, each time that it is asked.
type Usage struct {
	list                                func() []contracts.RunnerAgent
	start, cpu, memory, processes       *prometheus.Desc
	allCPU, allMemory, allProcesses, of *prometheus.Desc
}

// NewUsage makes the metrics of a runner's agents. List returns those that run, with what
// they use.
func NewUsage(runner string, list func() []contracts.RunnerAgent) *Usage {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("smith_runner_"+name, help, labels, prometheus.Labels{"runner": runner})
	}
	return &Usage{
		list:         list,
		start:        desc("agent_start_time_seconds", "When an agent's process was started, since 1970.", "agent"),
		cpu:          desc("agent_cpu_seconds_total", "Processor time of an agent and its descendants.", "agent"),
		memory:       desc("agent_memory_bytes", "Memory of an agent and its descendants.", "agent"),
		processes:    desc("agent_processes", "Processes of an agent.", "agent"),
		allCPU:       desc("agents_cpu_seconds", "Processor time of all agents that run, since they were started."),
		allMemory:    desc("agents_memory_bytes", "Memory of all agents."),
		allProcesses: desc("agents_processes", "Processes of all agents."),
		of:           desc("agents_measured", "Agents whose usage is known."),
	}
}

// Describe implements prometheus.Collector.
func (u *Usage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{u.start, u.cpu, u.memory, u.processes, u.allCPU, u.allMemory, u.allProcesses, u.of} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u *Usage) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	list, now := u.list(), time.Now()
	var cpu, memory, processes, measured float64
	for _, a := range list {
		if a.Usage == nil {
			continue
		}
		seconds := a.Usage.CPU.D().Seconds()
		measured++
		cpu, memory, processes = cpu+seconds, memory+float64(a.Usage.Memory), processes+float64(a.Usage.Processes)
		if len(list) > MaxAgents {
			continue
		}
		gauge(u.start, float64(now.Add(-a.Usage.Uptime.D()).UnixMilli())/1000, a.Agent)
		ch <- prometheus.MustNewConstMetric(u.cpu, prometheus.CounterValue, seconds, a.Agent)
		gauge(u.memory, float64(a.Usage.Memory), a.Agent)
		gauge(u.processes, float64(a.Usage.Processes), a.Agent)
	}
	gauge(u.allCPU, cpu)
	gauge(u.allMemory, memory)
	gauge(u.allProcesses, processes)
	gauge(u.of, measured)
}
