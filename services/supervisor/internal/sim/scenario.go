package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// FaultKind is what goes wrong, or what somebody does.
type FaultKind string

// Faults.
const (
	// CrashSupervisor: it forgets everything; another life begins after For.
	CrashSupervisor FaultKind = "supervisor crashes"
	// PauseSupervisor: it stands still for For and goes on with what it knew.
	PauseSupervisor FaultKind = "supervisor is paused"
	// CutSupervisor: nothing goes to or from a supervisor for For.
	CutSupervisor FaultKind = "supervisor is cut off"
	// Reconfigure: supervisors that take over find another configuration; all
	// crash. An agent is left out or comes back, a supervisor gets the next
	// strategy.
	Reconfigure FaultKind = "new configuration"
	// StopService: the supervisors' processes end and stop the tree before. All are
	// killed within For, done or not, and start again.
	StopService FaultKind = "service is stopped"
	// SkewClock: a supervisor's clock is off by For from then on.
	SkewClock FaultKind = "clock is skewed"
	// CrashRunner: it is away for For; its ledger and its agents stay.
	CrashRunner FaultKind = "runner crashes"
	// RebootHost: a runner and all its agents die; the runner is back after For.
	RebootHost FaultKind = "host reboots"
	// RestartContainer: a runner and all its agents die, and the runner is back
	// after For, on the same boot of the host.
	RestartContainer FaultKind = "container restarts"
	// WithdrawAgents: a runner ends its agents without an order, as one that is told
	// to end or is cut off does, and is away for For after that.
	WithdrawAgents FaultKind = "runner ends its agents"
	// RollBackLog: the log loses what it acknowledged within For, and stays away
	// for a moment.
	RollBackLog FaultKind = "log is rolled back"
	// FillDisk: the log can be read, and takes nothing more for For.
	FillDisk FaultKind = "disk is full"
	// Starve: a runner has no descriptors, processes, memory or disk to start
	// anything with for For.
	Starve FaultKind = "runner is starved"
	// LoseHost: a runner and all its agents die, and are given up. The runner is
	// back after For; 0 is never.
	LoseHost FaultKind = "host is lost"
	// CutRunner: nothing goes to or from a runner for For.
	CutRunner FaultKind = "runner is cut off"
	// CutLog: nothing goes to or from the log for For.
	CutLog FaultKind = "log is cut off"
	// Storm: much more is lost, delayed and delivered twice for For.
	Storm FaultKind = "network storm"
	// LoseSnapshot: the stored snapshot can no longer be read.
	LoseSnapshot FaultKind = "snapshot is corrupted"
	// AgentExits, AgentHangs: an agent's process ends or goes silent.
	AgentExits FaultKind = "agent exits"
	AgentHangs FaultKind = "agent hangs"
	// WrongVerdict: the detector condemns a healthy, an old or an unknown
	// incarnation.
	WrongVerdict FaultKind = "wrong verdict"
	// Operator gives a command.
	Operator FaultKind = "operator"
)

// Point is where in a decision a supervisor's crash or pause strikes.
type Point int

// Points. Anywhere strikes at once.
const (
	Anywhere Point = iota
	// BeforeAppend: stepped, nothing sent.
	BeforeAppend
	// AfterAppend: acknowledged, no effect performed.
	AfterAppend
	// BetweenEffects: some effects performed.
	BetweenEffects
	points
)

// Fault is one thing that happens to the simulated world.
type Fault struct {
	At   time.Duration // since the beginning
	Kind FaultKind
	// Of is the number of the supervisor or runner, Node the agent or node.
	Of   int
	Node string
	For  time.Duration
	// Rest is how long the processes of StopService are away.
	Rest time.Duration
	// Point belongs to CrashSupervisor and PauseSupervisor, Normal to
	// AgentExits, Age to WrongVerdict: which incarnation, counted back from
	// the present one, -1 for none; Next waits for the next start. Command belongs to Operator.
	Point   Point
	Normal  bool
	Age     int
	Next    bool
	Command tree.CommandKind
	// To belongs to an order to move, Count to one to scale or to roll, and Outdated
	// to one to roll.
	To       string
	Count    int
	Outdated bool
	// Edit says what ApplyConfig changes, with To and Spec; Count is how many agents
	// may be down for it at once, 0 for none. An operator that Looks expects the
	// changes of a plan made before.
	Edit  Edit
	Spec  *tree.Spec
	Looks bool
	// Mode belongs to ChangeMode; nil takes a setting back.
	Mode *tree.Rollout
}

func (f Fault) String() string {
	s := string(f.Kind)
	switch f.Kind {
	case CrashSupervisor, PauseSupervisor:
		s = fmt.Sprintf("%s: supervisor-%d for %s, at %s", s, f.Of, f.For, [...]string{"once", "the next append", "the next answer", "the next effect"}[f.Point])
	case SkewClock, CutSupervisor:
		s = fmt.Sprintf("%s: supervisor-%d, %s", s, f.Of, f.For)
	case CrashRunner, RebootHost, CutRunner, LoseHost, RestartContainer, WithdrawAgents, Starve:
		s = fmt.Sprintf("%s: runner-%d for %s", s, f.Of, f.For)
	case StopService:
		s = fmt.Sprintf("%s: killed after %s, away for %s", s, f.For, f.Rest)
	case CutLog, Storm, FillDisk, RollBackLog:
		s = fmt.Sprintf("%s for %s", s, f.For)
	case AgentExits:
		s = fmt.Sprintf("%s: %s, normal %t", s, f.Node, f.Normal)
	case AgentHangs, Reconfigure:
		s += ": " + f.Node
	case RunsElsewhere:
		s = fmt.Sprintf("%s: %s for %s", s, f.Node, f.For)
	case WrongVerdict:
		s = fmt.Sprintf("%s: %s, %d incarnations old, at the next start %t", s, f.Node, f.Age, f.Next)
	case ChangeMode:
		s = fmt.Sprintf("%s: %s to %v", s, f.Node, f.Mode)
	case ApplyConfig:
		s = fmt.Sprintf("%s: %s, %s %s, at most %d down, looks %t", s, f.Edit, f.Node, f.To, f.Count, f.Looks)
		if f.Spec != nil {
			s += ": " + f.Spec.ID + " under " + f.Spec.Parent
		}
	case Operator:
		s = fmt.Sprintf("%s: %s %s", s, f.Command, f.Node)
		if f.Command == tree.CmdMove {
			s += " to " + f.To
		}
		if f.Command == tree.CmdScale {
			s += fmt.Sprintf(" to %d", f.Count)
		}
		if f.Command == tree.CmdRoll {
			s += fmt.Sprintf(", at most %d down, outdated only %t", f.Count, f.Outdated)
		}
	}
	return s
}

// Scenario is one run, before anything happened: the tree, who is there, how
// bad the network is, and what goes wrong when. The same scenario always has
// the same story.
type Scenario struct {
	Seed                 uint64
	Specs                []*tree.Spec
	Supervisors, Runners int
	// Unlabelled has a bit for each runner that lacks labels.
	Unlabelled uint
	// Loss, Twice and Late are the shares of messages, in percent, that are
	// lost, delivered twice, or delayed by up to Delay.
	Loss, Twice, Late int
	Delay             time.Duration
	// Flaky is the share of starts, in percent, that go wrong somehow.
	Flaky int
	// MaxChanged and Part are how many changes go into one decision and one
	// message, SnapshotEvery how many decisions lie between snapshots.
	MaxChanged, Part, SnapshotEvery int
	// Keeps is how much the log keeps; others write to it if that is not all.
	Keeps retention
	// Remembers: the log recognises a message that it has stored already.
	Remembers bool
	Faults    []Fault
	// Calm is when faults cease. Ends tells that everything is enforced then.
	Calm time.Duration
	Ends bool
	// Releases tells that files are remembered by their digests and agents have
	// builds, as of all that the service reads.
	Releases bool
}

// everything is more changes than there ever are at once.
const everything = 400

// Generate makes the scenario of a seed.
func Generate(seed uint64) Scenario {
	r := streamOf(seed, "scenario")
	s := Scenario{
		Seed: seed, Supervisors: 1 + r.below(3), Runners: 1 + r.below(3),
		Loss: pick(&r, 0, 2, 10), Twice: pick(&r, 0, 2, 10), Late: pick(&r, 0, 5, 20),
		Delay: pick(&r, 20*time.Millisecond, 300*time.Millisecond, 7*time.Second),
		Flaky: pick(&r, 0, 5, 25), MaxChanged: pick(&r, 1, 3, everything), Part: pick(&r, 1, 3, everything),
		SnapshotEvery: pick(&r, 1, 5, 1000), Remembers: r.chance(50),
	}
	s.grow(&r)
	s.Calm = r.between(3*time.Second, 25*time.Second)
	for range r.below(14) {
		f := s.fault(&r)
		if n := len(s.Faults); n > 0 && r.chance(40) {
			// Trouble comes in company.
			f.At = min(s.Faults[n-1].At+r.between(0, 300*time.Millisecond), s.Calm)
			if s.Faults[n-1].Node != "" && f.Kind != Operator && f.Kind != Reconfigure && r.chance(50) {
				f.Node = s.Faults[n-1].Node
			}
		}
		s.Faults = append(s.Faults, f)
	}
	s.order()
	s.moderate()
	s.spread()
	s.release()
	s.harden()
	s.stopping()
	s.withdrawing()
	s.forgetful()
	s.shorten()
	return s
}

// order puts faults into the order in which they happen.
func (s *Scenario) order() {
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return int(a.At - b.At) })
}

// grow makes a tree of a root, up to three supervisors and up to six agents.
func (s *Scenario) grow(r *stream) {
	sups := []string{"root"}
	ranks := map[string]int64{}
	add := func(spec *tree.Spec) {
		ranks[spec.Parent]++
		spec.Rank = ranks[spec.Parent] << 20
		s.Specs = append(s.Specs, spec)
	}
	supervisor := func(id, parent string) {
		spec := &tree.Spec{ID: id, Parent: parent, Restart: pick(r, tree.Permanent, tree.Permanent, tree.Transient), Supervisor: &tree.Supervisor{
			Strategy:    pick(r, tree.OneForOne, tree.OneForOne, tree.OneForAll, tree.RestForOne, tree.Escalate),
			MaxRestarts: pick(r, 1, 3, 10), Period: pick(r, 5*time.Second, time.Minute),
			Escalation: pick(r, tree.ToParent, tree.ToParent, tree.CoolOff, tree.Terminate, tree.Ignore, tree.Isolate, tree.Isolate), CoolOff: 2 * time.Second, MaxCoolOff: 8 * time.Second,
			AutoShutdown: pick(r, tree.Never, tree.Never, tree.AnySignificant, tree.AllSignificant),
		}}
		if parent == "" {
			spec.Supervisor.MaxRestarts, spec.Supervisor.Strategy = 10, pick(r, tree.OneForOne, tree.OneForOne, tree.RestForOne)
			if r.chance(30) {
				spec.Supervisor.Budget = &tree.Budget{
					Fleet:  tree.Allowance{Restarts: 1 + r.below(3), Per: r.between(time.Second, 5*time.Second)},
					Runner: tree.Allowance{Restarts: r.below(3), Per: r.between(time.Second, 5*time.Second)},
				}
			}
		}
		onlyAlone(spec.Supervisor)
		if s.Seed%4 == 1 {
			spec.ShutdownTimeout = 400 * time.Millisecond
		}
		if r.chance(50) {
			spec.Backoff = backoff.Delays{Delay: r.between(0, time.Second)}
		}
		add(spec)
	}
	supervisor("root", "")
	for i := range r.below(4) {
		id := fmt.Sprintf("sup-%d", i+1)
		supervisor(id, sups[r.below(len(sups))])
		sups = append(sups, id)
	}
	for i := range 1 + r.below(6) {
		add(s.agent(r, fmt.Sprintf("agent-%d", i+1), sups[r.below(len(sups))]))
	}
}

// onlyAlone lets no group isolate: its children restart together.
func onlyAlone(s *tree.Supervisor) {
	if s.Escalation == tree.Isolate && s.Strategy != tree.OneForOne {
		s.Escalation = tree.ToParent
	}
}

func (s *Scenario) agent(r *stream, id, parent string) *tree.Spec {
	spec := &tree.Spec{
		ID: id, Parent: parent, Restart: pick(r, tree.Permanent, tree.Permanent, tree.Permanent, tree.Transient, tree.Temporary),
		ShutdownTimeout: pick(r, 50*time.Millisecond, 300*time.Millisecond, 3*time.Second),
		Agent:           &tree.Agent{Runner: tree.AnyRunner, Verify: r.chance(80), StartDeadline: r.between(time.Second, 4*time.Second), Stabilisation: r.between(50*time.Millisecond, time.Second)},
	}
	if r.chance(30) {
		spec.Agent.Runner = runnerName(r.below(s.Runners))
	}
	switch r.below(3) {
	case 1:
		spec.Backoff = backoff.Delays{Delay: r.between(1, time.Second), Jitter: 0.2}
	case 2:
		spec.Backoff = backoff.Delays{Type: backoff.Exponential, Base: 2, Delay: 100 * time.Millisecond, Max: 3 * time.Second, Reset: 5 * time.Second}
	}
	parents := slices.IndexFunc(s.Specs, func(p *tree.Spec) bool { return p.ID == parent })
	if s.Specs[parents].Supervisor.AutoShutdown != tree.Never && spec.Restart != tree.Permanent {
		spec.Significant = r.chance(50)
	}
	return spec
}

func (s *Scenario) fault(r *stream) Fault {
	node := s.Specs[1+r.below(len(s.Specs)-1)]
	agents := slices.DeleteFunc(slices.Clone(s.Specs), func(spec *tree.Spec) bool { return spec.Agent == nil })
	agent := agents[r.below(len(agents))]
	f := Fault{
		At: r.between(0, s.Calm), Node: agent.ID, For: r.between(10*time.Millisecond, 8*time.Second),
		Kind: pick(r, CrashSupervisor, CrashSupervisor, PauseSupervisor, PauseSupervisor, CutSupervisor, Reconfigure, SkewClock, CrashRunner, CrashRunner, RebootHost, LoseHost,
			CutRunner, CutLog, Storm, LoseSnapshot, AgentExits, AgentExits, AgentExits, AgentHangs, WrongVerdict, WrongVerdict, Operator, Operator, Operator),
	}
	switch f.Kind {
	case CrashSupervisor, PauseSupervisor:
		f.Of, f.Point = r.below(s.Supervisors), Point(r.below(int(points)))
	case CutSupervisor:
		f.Of = r.below(s.Supervisors)
	case Reconfigure:
		f.Node = node.ID
	case SkewClock:
		f.Of, f.For = r.below(s.Supervisors), r.between(-3*time.Second, 3*time.Second)
	case CrashRunner, RebootHost, CutRunner:
		f.Of = r.below(s.Runners)
	case LoseHost:
		f.Of, f.For = r.below(s.Runners), 0
	case AgentExits:
		f.Normal = r.chance(25)
	case WrongVerdict:
		f.Age, f.Next = pick(r, 0, 0, 1, 2, -1), r.chance(50)
	case Operator:
		f.Node = node.ID
		f.Command = pick(r, tree.CmdRestart, tree.CmdTerminate, tree.CmdStart, tree.CmdRemove, tree.CmdRemove, tree.CmdAdd,
			tree.CmdSuspend, tree.CmdResume, tree.CmdDelete)
	}
	return f
}

func runnerName(i int) string { return fmt.Sprintf("runner-%d", i) }
