package keeper

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Metrics are the supervisor's.
type Metrics struct {
	restarts, failures, decisions, inputsTotal *prometheus.CounterVec
	runnersLost, proposals                     *prometheus.CounterVec
	active, rate, unplaced, pending, runners   *prometheus.GaugeVec
	throttled, deciding, agents                *prometheus.GaugeVec
	held, comparison                           *prometheus.GaugeVec
	isolated, gaveUp, waiting, down, unsteady  *prometheus.GaugeVec
	isolations, giveUps                        *prometheus.CounterVec
	lag, duration                              *prometheus.HistogramVec
	tree                                       string
	// perSecond counts the failures of the last minute.
	perSecond [60]int
	second    int64
	// modesKnown is set while the agents in each mode are those last counted.
	modesKnown bool
	// counted is the tree's revision when its nodes were last counted.
	counted uint64
	// steady is when the first of the agents counted as unsteady is steady; 0 if there
	// are none.
	steady tree.Instant
}

// NewMetrics registers the metrics of a tree.
func NewMetrics(r prometheus.Registerer, treeName string) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return shell.Gauge(r, prometheus.GaugeOpts{Name: name, Help: help}, append([]string{"tree"}, labels...)...)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return shell.Counter(r, prometheus.CounterOpts{Name: name, Help: help}, append([]string{"tree"}, labels...)...)
	}
	buckets := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	seconds := func(name, help string) *prometheus.HistogramVec {
		return shell.Histogram(r, prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, "tree")
	}
	m := &Metrics{
		tree:        treeName,
		isolated:    gauge("smith_supervisor_isolated", "Nodes that are set apart by their supervisors, since they failed too often."),
		gaveUp:      gauge("smith_supervisor_gave_up", "Supervisor nodes that gave up and stay down until they are restarted."),
		waiting:     gauge("smith_supervisor_waiting", "Nodes that are restarted when their delay, or that of their group, is over."),
		down:        gauge("smith_supervisor_down", "Agents without a process, but for those that finished or that an operator ended."),
		unsteady:    gauge("smith_supervisor_unsteady", "Agents that failed and have not run for their reset_after since: they run, come up, or wait for that."),
		isolations:  counter("smith_supervisor_isolated_total", "Times that a node was set apart."),
		giveUps:     counter("smith_supervisor_gave_up_total", "Times that a supervisor node gave up."),
		restarts:    counter("supervision_restarts_total", "Restarts decided, by the supervisor node that decided them.", "supervisor"),
		failures:    counter("supervision_failures_total", "Failures of agents, by kind: exited, failed (a verdict), start_failed, host_lost.", "kind"),
		active:      gauge("supervision_active_children", "Agents that run and are verified."),
		rate:        gauge("supervision_failure_rate", "Failures a second over the last minute."),
		duration:    seconds("supervision_restart_duration_seconds", "From the decision to restart to running and verified, backoff included."),
		lag:         seconds("supervision_lag", "Seconds from a failure's event to its stored decision."),
		decisions:   counter("smith_supervisor_decisions_total", "Decisions stored."),
		inputsTotal: counter("smith_supervisor_inputs_total", "Inputs taken into account."),
		proposals:   counter("smith_supervisor_proposals_total", "Proposals in shadow mode, by what would be done: restart, isolate, escalate, terminate, cool_off, ignore, give_up.", "action"),
		agents:      gauge("smith_supervisor_agents", "Agents of the tree, by mode: enforce, shadow, off.", "mode"),
		deciding:    gauge("smith_supervisor_deciding", "1 while this supervisor decides about the tree, 0 while it stands by."),
		unplaced:    gauge("smith_supervisor_unplaced_agents", "Agents that wait for a runner."),
		runnersLost: counter("smith_supervisor_runners_lost_total", "Runners taken for gone with their hosts."),
		runners:     gauge("smith_supervisor_runners", "Runners that take starts."),
		held:        gauge("smith_supervisor_runners_held", "Runners that are there and take no starts until they are compared with the tree."),
		comparison:  gauge("smith_supervisor_comparison_age_seconds", "Age of the oldest comparison of a runner with the tree that is under way; 0 when there is none."),
		throttled:   gauge("smith_supervisor_throttled_restarts", "Restarts that wait for budget."),
		pending:     gauge("smith_supervisor_pending_commands", "Agents with a start, stop or report under way."),
	}
	m.exist()
	return m
}

// exist makes counters exist before anything is counted, so that their first
// increase is seen as one.
func (m *Metrics) exist() {
	for _, c := range []*prometheus.CounterVec{m.decisions, m.inputsTotal, m.runnersLost, m.isolations, m.giveUps} {
		c.WithLabelValues(m.tree)
	}
	for _, kind := range []string{"exited", "failed", "start_failed", "host_lost"} {
		m.failures.WithLabelValues(m.tree, kind)
	}
	for _, action := range []tree.EffectKind{
		tree.NoteRestart, tree.NoteIsolate, tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteIgnore, tree.NoteGiveUp,
	} {
		m.proposals.WithLabelValues(m.tree, string(action))
	}
}

// Decides notes that this supervisor decides about the tree from now on.
func (m *Metrics) Decides() { m.deciding.WithLabelValues(m.tree).Set(1) }

// StandsBy notes that it does not, and takes away what it says of the tree: that
// is another's to say.
func (m *Metrics) StandsBy() {
	m.deciding.WithLabelValues(m.tree).Set(0)
	for _, g := range []*prometheus.GaugeVec{m.active, m.rate, m.unplaced, m.pending, m.runners, m.throttled, m.isolated, m.gaveUp, m.waiting, m.down, m.unsteady, m.held, m.comparison} {
		g.DeleteLabelValues(m.tree)
	}
	m.agents.DeletePartialMatch(prometheus.Labels{"tree": m.tree})
	m.modesKnown, m.counted = false, 0
}

func (m *Metrics) inputs(n int) { m.inputsTotal.WithLabelValues(m.tree).Add(float64(n)) }

// decided counts what a stored decision contains.
func (m *Metrics) decided(k *Keeper, b *leader.Batch) {
	m.decisions.WithLabelValues(m.tree).Inc()
	at := b.At.Time()
	failed := 0
	for kind, n := range failuresOf(b) {
		failed += n
		m.failures.WithLabelValues(m.tree, kind).Add(float64(n))
	}
	m.count(failed, at.Unix())
	if failed > 0 && b.Oldest > 0 {
		m.lag.WithLabelValues(m.tree).Observe(max(0, time.Since(b.Oldest.Time()).Seconds()))
	}
	restarts := map[string]int{}
	for _, e := range b.Effects {
		switch e.Kind {
		case tree.NoteRestart:
			restarts[e.Supervisor]++
			k.began[e.Node] = b.At
		case tree.NoteRunning:
			if began, ok := k.began[e.Node]; ok {
				delete(k.began, e.Node)
				m.duration.WithLabelValues(m.tree).Observe(at.Sub(began.Time()).Seconds())
			}
		case tree.Propose:
			m.proposals.WithLabelValues(m.tree, string(e.Action)).Inc()
		case tree.NoteIsolate:
			m.isolations.WithLabelValues(m.tree).Inc()
		case tree.NoteGiveUp, tree.NoteTerminate:
			m.giveUps.WithLabelValues(m.tree).Inc()
		case tree.NoteMode:
			m.modesKnown = false
		}
	}
	for supervisor, n := range restarts {
		m.restarts.WithLabelValues(m.tree, supervisor).Add(float64(n))
	}
	for i := range b.Changes {
		if b.Changes[i].Spec != nil || b.Changes[i].Removed {
			m.modesKnown = false
		}
		if b.Changes[i].Removed {
			delete(k.began, b.Changes[i].ID)
		}
	}
}

// failuresOf counts the failures that a decision handles, by kind.
func failuresOf(b *leader.Batch) map[string]int {
	failures := map[string]int{}
	for _, s := range b.Steps {
		switch {
		case s.Event == "":
		case s.Kind == tree.Exited:
			failures["exited"]++
		case s.Kind == tree.Failed:
			failures["failed"]++
		case s.Kind == tree.StartFailed, s.Kind == tree.Started:
			failures["start_failed"]++
		case s.Kind == tree.Lost:
			failures["host_lost"]++
		}
	}
	return failures
}

// count keeps the failures of the last 60 seconds.
func (m *Metrics) count(failed int, second int64) {
	for ; m.second < second; m.second++ {
		if second-m.second > 60 {
			m.second = second - 61
			continue
		}
		m.perSecond[(m.second+1)%60] = 0
	}
	m.perSecond[second%60] += failed
}

// observe refreshes the gauges.
func (m *Metrics) observe(k *Keeper) {
	m.count(0, time.Now().Unix())
	sum := 0
	for _, n := range m.perSecond {
		sum += n
	}
	m.rate.WithLabelValues(m.tree).Set(float64(sum) / 60)
	m.active.WithLabelValues(m.tree).Set(float64(k.tree.Active()))
	m.unplaced.WithLabelValues(m.tree).Set(float64(k.tree.Unplaced()))
	m.runners.WithLabelValues(m.tree).Set(float64(len(k.registry.Available())))
	m.held.WithLabelValues(m.tree).Set(float64(k.registry.Held()))
	m.comparison.WithLabelValues(m.tree).Set(k.visits.age(time.Now()).Seconds())
	m.throttled.WithLabelValues(m.tree).Set(float64(k.tree.Waiting()))
	m.pending.WithLabelValues(m.tree).Set(float64(k.commands.Pending()))
	m.census(k.tree, k.now())
	if m.modesKnown {
		return
	}
	modes := k.tree.Modes()
	for _, mode := range []tree.Mode{tree.Enforce, tree.Shadow, tree.Off} {
		m.agents.WithLabelValues(m.tree, string(mode)).Set(float64(modes[mode]))
	}
	m.modesKnown = true
}

// census counts what is not up or failed lately, unless the tree is as it was.
func (m *Metrics) census(t *tree.Tree, now tree.Instant) {
	revision := t.Revision()
	if m.counted == revision && (m.steady == 0 || now < m.steady) {
		return
	}
	var unsteady int
	unsteady, m.steady = t.UnsteadyAgents(now)
	m.unsteady.WithLabelValues(m.tree).Set(float64(unsteady))
	m.counted = revision
	c := t.Census()
	m.isolated.WithLabelValues(m.tree).Set(float64(c.Isolated))
	m.gaveUp.WithLabelValues(m.tree).Set(float64(c.GaveUp))
	m.waiting.WithLabelValues(m.tree).Set(float64(c.Waiting))
	m.down.WithLabelValues(m.tree).Set(float64(c.Down))
}
