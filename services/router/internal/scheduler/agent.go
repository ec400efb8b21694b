package scheduler

import (
	"math"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// agentState is what is known of an agent's life.
type agentState string

const (
	agentStarting agentState = "starting" // started, not yet heard of
	agentUp       agentState = "up"
	agentFailed   agentState = "failed"  // somebody reported its failure
	agentStopped  agentState = "stopped" // it ended as it should
)

type agent struct {
	id           string
	kind         string // its type
	capabilities []string
	capacity     int
	incarnation  uint64
	// logged is the incarnation by the log alone: heartbeats may run ahead of
	// it, and results are judged in the log's order.
	logged     uint64
	ahead      uint64 // a later one that only heartbeats know of
	aheadSince time.Time
	beat       uint64 // the last heartbeat's number
	state      agentState
	exited     bool // its process is known to be gone
	status     contracts.AgentStatus
	health     contracts.Health
	downSince  time.Time

	tasks     map[string]*task // given and not brought back
	serves    map[*taskType]struct{}
	refuses   map[string]bool // types it refused as unknown
	misses    int             // dispatches refused or missed in a row
	coolUntil time.Time
	cooling   bool
	unheard   bool // it missed a dispatch and has not beaten since
	lastGiven uint64

	meanLog float64 // moving mean of the log of service seconds
	samples int
}

func (s *Scheduler) agent(id string, now time.Time) *agent {
	a, ok := s.agents[id]
	if !ok {
		a = &agent{
			id: id, state: agentStarting,
			tasks: map[string]*task{}, serves: map[*taskType]struct{}{},
		}
		s.agents[id] = a
		s.rematch(a, now)
	}
	return a
}

// alive tells that the agent is not known to be down.
func (a *agent) alive() bool { return a.state == agentStarting || a.state == agentUp }

// ready tells whether it may get work: running, healthy, and answering.
func (a *agent) ready() bool {
	if a.state != agentUp || a.cooling || a.unheard || a.kind == contracts.TypeRunner {
		return false
	}
	if a.health == contracts.HealthDegraded || a.health == contracts.HealthUnhealthy {
		return false
	}
	return a.status == "" || a.status == contracts.StatusRunning || a.status == contracts.StatusBusy
}

func (a *agent) free() int {
	if !a.ready() {
		return 0
	}
	return max(0, max(a.capacity, 1)-len(a.tasks))
}

// update changes an agent and keeps the room of the types it serves right.
func (s *Scheduler) update(a *agent, now time.Time, change func()) {
	free, alive := a.free(), a.alive()
	change()
	d := a.free() - free
	for ty := range a.serves {
		ty.free += d
		switch {
		case a.alive() && !alive:
			ty.live++
		case !a.alive() && alive:
			s.lostOne(ty, now)
		}
	}
}

// observe takes in how long the agent took for a task.
func (a *agent) observe(took time.Duration) {
	x := math.Log(max(took.Seconds(), 1e-3))
	a.samples++
	a.meanLog += (x - a.meanLog) / float64(min(a.samples, 20))
}

// Beat is a heartbeat. An empty field changes nothing.
type Beat struct {
	Agent        string
	Incarnation  uint64 // 0: the sender does not know
	Seq          uint64
	Type         string
	Capabilities []string
	Capacity     int
	Status       contracts.AgentStatus
}

func (in Beat) apply(s *Scheduler, now time.Time) {
	if _, known := s.agents[in.Agent]; !known && len(s.agents) >= s.cfg.MaxAgents {
		s.stale("agent over the limit", "", in.Agent)
		return
	}
	a := s.agent(in.Agent, now)
	if in.Incarnation != 0 && in.Incarnation < a.incarnation {
		s.stale("heartbeat", "", in.Agent)
		return
	}
	reborn := in.Incarnation == 0 && a.incarnation == 0 && in.Seq != 0 && in.Seq < a.beat
	switch {
	case in.Incarnation > a.incarnation && a.runsAhead(in.Incarnation, now):
		return
	case in.Incarnation > a.incarnation || reborn:
		s.succeed(a, in.Incarnation, now)
	}
	s.describe(a, in.Type, in.Capabilities, in.Capacity, now)
	s.update(a, now, func() {
		a.beat, a.status, a.unheard = in.Seq, in.Status, false
		if a.state == agentStarting || a.state == agentStopped && !a.exited {
			a.state = agentUp
		}
	})
}

// logGrace is how long a heartbeat of a new incarnation waits for the log to
// tell how the one before ended. What that one still did is in the log before
// its end, so nobody does it again.
const logGrace = 2 * time.Second

// runsAhead tells whether to wait for the log before believing a heartbeat of
// a new incarnation; there is nothing to wait for when the agent has no tasks.
func (a *agent) runsAhead(incarnation uint64, now time.Time) bool {
	if len(a.tasks) == 0 {
		return false
	}
	if a.ahead != incarnation {
		a.ahead, a.aheadSince = incarnation, now
	}
	return now.Sub(a.aheadSince) < logGrace
}

// AgentUp is agent.started or agent.created. A started agent gets work once it
// has beaten.
type AgentUp struct {
	Agent        string
	Incarnation  uint64
	Type         string
	Capabilities []string
	Capacity     int
	Cause        string
}

func (in AgentUp) apply(s *Scheduler, now time.Time) {
	s.cause = in.Cause
	a := s.agent(in.Agent, now)
	if in.Incarnation < a.incarnation {
		s.stale("agent start", "", in.Agent)
		return
	}
	a.logged = in.Incarnation
	if in.Incarnation > a.incarnation {
		s.succeed(a, in.Incarnation, now)
	}
	s.describe(a, in.Type, in.Capabilities, in.Capacity, now)
}

// AgentDown is agent.failed or agent.stopped.
type AgentDown struct {
	Agent       string
	Incarnation uint64
	// Stopped tells an expected end from a failure; Exited that the process
	// is known to be gone, so that only a new incarnation comes back.
	Stopped, Exited bool
	Detail          string
	Cause           string
}

func (in AgentDown) apply(s *Scheduler, now time.Time) {
	s.cause = in.Cause
	a := s.agent(in.Agent, now)
	if in.Incarnation < a.incarnation {
		s.stale("agent end", "", in.Agent)
		return
	}
	reason, state := AgentFailed, agentFailed
	if in.Stopped {
		reason, state = AgentStopped, agentStopped
	}
	exited := in.Exited || a.exited && in.Incarnation == a.incarnation
	s.update(a, now, func() {
		a.exited = exited
		a.incarnation, a.logged, a.downSince = in.Incarnation, in.Incarnation, now
		a.state = state
	})
	s.arm(now.Add(s.cfg.ForgetAfter), timerForget, a.id, 0)
	s.releaseUpTo(a, in.Incarnation, reason, in.Detail, now)
}

// AgentRecovered is agent.recovered: the same incarnation lives after all.
type AgentRecovered struct {
	Agent       string
	Incarnation uint64
}

func (in AgentRecovered) apply(s *Scheduler, now time.Time) {
	a := s.agent(in.Agent, now)
	if in.Incarnation != a.incarnation || a.exited {
		s.stale("agent recovery", "", in.Agent)
		return
	}
	s.update(a, now, func() { a.state, a.health = agentUp, contracts.HealthHealthy })
}

// HealthChanged is agent.state_changed: the detector's opinion.
type HealthChanged struct {
	Agent       string
	Incarnation uint64
	Health      contracts.Health
}

func (in HealthChanged) apply(s *Scheduler, now time.Time) {
	a := s.agent(in.Agent, now)
	if in.Incarnation < a.incarnation {
		s.stale("agent health", "", in.Agent)
		return
	}
	if in.Incarnation > a.incarnation {
		s.succeed(a, in.Incarnation, now)
	}
	s.update(a, now, func() { a.health = in.Health })
}

// succeed makes the agent its next incarnation: what the old one had is taken
// from it, and what was held against it forgotten.
func (s *Scheduler) succeed(a *agent, incarnation uint64, now time.Time) {
	s.update(a, now, func() {
		a.incarnation, a.state, a.exited = incarnation, agentStarting, false
		a.status, a.health, a.beat = "", "", 0
		a.misses, a.cooling, a.unheard = 0, false, false
	})
	s.releaseUpTo(a, incarnation-min(incarnation, 1), NewIncarnation, "", now)
	if len(a.refuses) > 0 {
		a.refuses = nil
		s.rematch(a, now)
	}
}

// releaseUpTo takes from an agent what its incarnations up to one were given,
// the oldest task first.
func (s *Scheduler) releaseUpTo(a *agent, incarnation uint64, reason Reason, detail string, now time.Time) {
	held := make([]*task, 0, len(a.tasks))
	for _, t := range a.tasks {
		if t.incarnation <= incarnation {
			held = append(held, t)
		}
	}
	slices.SortFunc(held, bySequence)
	for _, t := range held {
		s.release(t, reason, detail, now)
	}
}

func (s *Scheduler) describe(a *agent, kind string, capabilities []string, capacity int, now time.Time) {
	if capacity > 0 && capacity != a.capacity {
		s.update(a, now, func() { a.capacity = capacity })
	}
	rematch := false
	if kind != "" && kind != a.kind {
		s.update(a, now, func() { a.kind = kind })
		rematch = true
	}
	if capabilities != nil && !slices.Equal(capabilities, a.capabilities) {
		a.capabilities = slices.Clone(capabilities)
		rematch = true
	}
	if rematch {
		s.rematch(a, now)
	}
}

// miss notes that a dispatch did not get through; unheard agents get work only
// after their next heartbeat.
func (s *Scheduler) miss(a *agent, unheard bool, now time.Time) {
	s.update(a, now, func() {
		a.misses++
		a.coolUntil = now.Add(backoff(s.cfg.Cooldown, s.cfg.MaxCooldown, a.misses))
		a.cooling, a.unheard = true, a.unheard || unheard
	})
	s.arm(a.coolUntil, timerCooldown, a.id, 0)
}

func (s *Scheduler) forget(a *agent, now time.Time) {
	if a.alive() || len(a.tasks) > 0 || now.Sub(a.downSince) < s.cfg.ForgetAfter {
		return
	}
	for ty := range a.serves {
		delete(ty.agents, a.id)
	}
	delete(s.agents, a.id)
}
