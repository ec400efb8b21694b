// Package fleet keeps the agents of one host: it starts, watches and ends
// their processes and remembers, through every crash of the runner, what it
// has started.
//
// # Never a second copy
//
// Two processes of one agent never run at once. A start goes ahead only when
// all of these agree that nothing of an earlier start lives:
//
//  1. One runner at a time: it holds the state directory (package ledger).
//     Holding it also proves that no child of a killed predecessor is still
//     on its way into its program.
//  2. One command at a time for an agent, and none for an incarnation below
//     the highest ever named, also by a stop that came before its start.
//  3. The record, on disk before the start and completed with pid, start time
//     and boot id after it. A runner that died in between left the state
//     "starting"; its successor looks for the process by the token in its
//     environment and by the files it holds, and reports an unknown end when
//     there is none, rather than to start that incarnation again.
//  4. The lock, locked before the fork and inherited by the program and what
//     it starts. It needs neither record nor memory: as long as any of them
//     lives and has not closed it, the next start is refused, whatever else
//     was lost.
//
// Where the records are lost, the marks in the environments of processes still
// tell of a start, and the lock that its program holds of the rest: see
// Fleet.recognise.
//
// # Ends
//
// An agent is all of its processes: the program, its session and process group,
// and every process that inherited the marks or the lock. The program's end is
// an end of the agent only when all of them are gone. Until then the others are
// being ended too: each gets the stop signal once, all have the same grace, and
// what is left then is killed. That is so for an ordered stop, of which the
// grace begins with the order, and for a program that ended by itself. How far
// an end is stands in the record, so that a successor continues it. A
// descendant that left session and group, cleared its environment and closed the
// lock escapes.
//
// # Events
//
// What must be told is put into the agent's record together with the change it
// tells of, and stays there until it is acknowledged. Its id is derived from
// the start it belongs to, so it is the same however often it is found again.
//
// # Loss of power
//
// An order to start that names the boot of the host which it is for is refused
// after a loss of power. Any other is on disk before it is carried out, so that no
// incarnation is started a second time after the host comes back. All else
// reaches the disk within about a second. A record that is older by that much
// speaks of processes that no longer are, and leads to the report of an end
// with an unknown status, under the same event id.
package fleet

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/cgroup"
	"github.com/mistersmith/mistersmith/services/runner/internal/forward"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/reaper"
)

// Options of a Fleet. All are needed unless they say otherwise.
type Options struct {
	// Runner is this runner's id.
	Runner string
	// BootID is the boot of this host; starts meant for another are refused.
	BootID string
	Ledger *ledger.Ledger
	Log    *slog.Logger
	Env    Env
	// WorkDir is where programs run whose command names no directory, and
	// what relative directories are relative to. It is absolute.
	WorkDir string
	// Groups are where agents with such limits are bounded; nil is those of the
	// host.
	Groups *cgroup.Tree
	// MaxAgents bounds how many run at once.
	MaxAgents int
	// Output bounds what is kept of an agent's output.
	Output output.Limits
	// KeepOutput is how long the output of removed agents is kept.
	KeepOutput time.Duration
	// Forward gets a copy of what agents print; nil is nobody.
	Forward *forward.Forwarder
	// TellOutput puts the last lines of output into the events that report ends.
	TellOutput bool
	// Notify is told that an agent has events to publish. It must not block.
	Notify func(agent string)
	// Beat publishes the heartbeat of an agent that does not beat itself.
	Beat func(agent string, h contracts.Heartbeat)
	// SubReaper says that this process is a sub-reaper, or the first of its pid
	// namespace: what its own programs leave behind becomes its children.
	SubReaper bool
	// Reaper starts the programs and outlives this process. With nil, this process
	// starts them, and ends that come while no runner lives are mostly unknown.
	Reaper *reaper.Reaper
	// Observe counts what happens.
	Observe Observer
}

// Observer counts what happens to agents.
type Observer interface {
	Start(code contracts.RunnerCode, took time.Duration)
	Stop(code contracts.RunnerCode, took time.Duration)
	// Exit counts an end by what it comes to.
	Exit(contracts.Outcome)
	// Adopted tells that a process of a predecessor was found.
	Adopted()
	Running(n int)
}

// Fleet is the agents of a runner. Its methods may be used concurrently; those
// on different agents do not wait for each other.
type Fleet struct {
	o      Options
	census *process.Census // of all processes
	// orphans is the census of what the programs of parents left behind.
	orphans *process.Census
	// checked is the census of what commands that check agents left behind, which are
	// marked with id, this fleet's own.
	checked *process.Census
	id      string
	ctx     context.Context // ends when the runner leaves its agents alone
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	// checks has a place for each check of health that may run at once.
	checks chan struct{}

	// surveys is held by the one that finds out what agents use.
	surveys sync.Mutex

	// forks is held by those that start programs, and for good by the one that
	// reaps orphans: a program is known before it can be taken for one.
	forks sync.RWMutex

	mu sync.Mutex
	// programs are the pids of programs whose status is still to be collected.
	programs map[int]bool
	agents   map[string]*agent
	live     int
	closing  bool
	fence    uint64 // starts of lower terms are refused
	// kin are processes that another runner of this name may have started.
	kin map[string][]claim
}

// agent is one agent; mu guards all but its name.
type agent struct {
	name string
	mu   sync.Mutex
	rec  ledger.Record
	proc *process.Process // the program, while rec.Up()
	done chan struct{}    // closed when all of it has ended and that is recorded
	// child: the program was started by this process itself, a sub-reaper.
	child bool
	// ending: its end is being carried out; poke makes that look again.
	ending bool
	poke   chan struct{}
	// unwell is how its last health check failed, or empty.
	unwell string
	// out stores what it prints, while anything of it may print.
	out *output.Recorder
	// tidied: of a removed agent no output is left.
	tidied bool
	// unsaved: the record has changed since it was last saved for good.
	unsaved bool
}

// New makes a fleet that knows nothing yet; call Recover before anything else.
func New(o Options) *Fleet {
	if o.Groups == nil {
		o.Groups = cgroup.Of(o.Runner)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Fleet{o: o, ctx: ctx, cancel: cancel, agents: map[string]*agent{}, programs: map[int]bool{}, checks: make(chan struct{}, maxChecks), census: process.NewCensus(ledger.MarkVars()...)}
	f.orphans = process.NewCensusOfOrphans(f.parents, f.program, ledger.MarkVars()...)
	f.checked, f.id = f.censusOfChecks(), uuid.NewString()
	return f
}

// Close stops watching; the agents run on.
func (f *Fleet) Close() {
	f.Refuse()
	f.cancel()
	f.wg.Wait()
	for _, a := range f.all() {
		a.mu.Lock()
		f.closeOutput(a, true)
		a.mu.Unlock()
	}
	f.saveAll()
}

// Refuse makes every further start fail with RunnerStopping.
func (f *Fleet) Refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closing = true
}

// maxKnown bounds the agents remembered, running or not.
const maxKnown = 50_000

// agent gives the named agent, known or new; nil when it is new and there are
// too many.
func (f *Fleet) agent(name string) *agent {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.agents[name]
	if a == nil && len(f.agents) < maxKnown {
		a = &agent{name: name, rec: ledger.Record{Agent: name}}
		f.agents[name] = a
	}
	return a
}

func (f *Fleet) all() []*agent {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*agent, 0, len(f.agents))
	for _, a := range f.agents {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *agent) int { return cmp.Compare(a.name, b.name) })
	return all
}

// reserve takes one of the places for running agents.
func (f *Fleet) reserve() contracts.RunnerCode {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return contracts.RunnerStopping
	}
	if f.live >= f.o.MaxAgents {
		return contracts.RunnerFull
	}
	f.count(+1)
	return contracts.RunnerOK
}

func (f *Fleet) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count(-1)
}

// count changes the number of running agents; f.mu is held.
func (f *Fleet) count(delta int) {
	f.live += delta
	f.o.Observe.Running(f.live)
}

// Running is how many agents run.
func (f *Fleet) Running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live
}

// Fence refuses from now on the starts of lower terms, and List, called after it, has every start before. It only rises; it
// returns what it was.
func (f *Fleet) Fence(term uint64) (before uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before = f.fence
	f.fence = max(f.fence, term)
	return before
}

// fenced tells why a start comes too late to be meant, or "".
func (f *Fleet) fenced(cmd contracts.StartCommand) (why string, told uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case cmd.BootID != "" && f.o.BootID != "" && cmd.BootID != f.o.BootID:
		return fmt.Sprintf("it was meant for boot %s of this host, which is at %s now", cmd.BootID, f.o.BootID), 0
	case cmd.Term != 0 && cmd.Term < f.fence:
		return fmt.Sprintf("it is of term %d, and another supervisor has taken the tree over in term %d", cmd.Term, f.fence), f.fence
	}
	return "", 0
}

// List tells of every agent that ever ran here, ordered by name.
func (f *Fleet) List() []contracts.RunnerAgent {
	list := []contracts.RunnerAgent{}
	for _, a := range f.all() {
		a.mu.Lock()
		if v, ok := a.view(); ok {
			list = append(list, v)
		}
		a.mu.Unlock()
	}
	return list
}

func (a *agent) view() (contracts.RunnerAgent, bool) {
	v := contracts.RunnerAgent{Agent: a.name, Incarnation: a.rec.Incarnation(), Started: a.started(), Tree: a.rec.Start.Tree, Removed: !a.rec.Removed.IsZero()}
	switch {
	case a.rec.Live():
		v.PID, v.State = a.rec.Process.PID, contracts.AgentRunning
		if a.rec.Ending != nil || !a.rec.Up() {
			v.State = contracts.AgentStopping
		}
	case a.rec.State == ledger.Exited:
		v.State, v.Exit, v.Event = contracts.AgentExited, a.rec.Exit, endedID(a.rec)
	default:
		return v, false
	}
	return v, true
}

func (a *agent) started() *time.Time {
	if a.rec.Started.IsZero() {
		return nil
	}
	t := a.rec.Started
	return &t
}

// write puts the record where every successor finds it, whatever kills this
// runner; Tidy makes it outlive a loss of power too. That may come later,
// because no process outlives a loss of power. What cannot be written is still
// true in memory, and said in the log: an agent that ended has ended, disk or
// no disk.
func (f *Fleet) write(a *agent) {
	a.unsaved = true
	if err := f.o.Ledger.Write(a.rec); err != nil {
		f.o.Log.Error("record not saved; a crash of the runner now would forget it", "agent", a.name, "incarnation", a.rec.Incarnation(), "error", err)
		return
	}
	if a.rec.Exit != nil && !a.rec.Live() { // until then it is asked for more
		f.o.Reaper.Taken(a.rec.Token)
	}
}
