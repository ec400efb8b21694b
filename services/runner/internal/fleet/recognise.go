package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// claim is a start of which processes live, as they say themselves.
type claim struct {
	ledger.Marks
	of []procfs.Process
}

// newClaim reads the marks of processes of one start, one of which may have
// changed its own.
func newClaim(of []procfs.Process) (claim, bool) {
	for _, p := range of {
		if marks, ok := ledger.ParseMarks(p.Vars); ok {
			return claim{marks, of}, true
		}
	}
	return claim{}, false
}

// stats are the processes without their variables.
func (c claim) stats() []procfs.Stat {
	out := make([]procfs.Stat, len(c.of))
	for i, p := range c.of {
		out[i] = p.Stat
	}
	return out
}

// recognise finds what lives of starts that no record tells of, because the
// state directory or a record in it was lost. Of each agent the newest start is
// adopted, or ended within its grace where it does not say enough for that. Older
// ones are killed.
func (f *Fleet) recognise(saw *process.Snapshot) {
	for name, claims := range f.claims(saw) {
		a := f.agent(name)
		if a == nil {
			continue
		}
		a.mu.Lock()
		f.recogniseAgent(a, claims, saw)
		a.mu.Unlock()
	}
}

// recogniseAgent handles the unrecorded starts of an agent, newest first; a.mu
// is held.
func (f *Fleet) recogniseAgent(a *agent, claims []claim, saw *process.Snapshot) {
	for _, c := range claims {
		known := a.rec.Live() || a.rec.Highest > c.Incarnation
		switch {
		case c.Token == a.rec.Token: // what its end missed
			if !a.rec.Start.LeaveChildren {
				f.kill(c, "ended processes that outlived their agent")
			}
		case known:
			f.kill(c, "ended an earlier incarnation of an agent that no record told of")
		default:
			if err := f.adoptClaim(a, c); err != nil {
				f.endClaim(a, c, saw, err)
			}
		}
	}
}

// adoptClaim restores the record of a start from the lock that its program
// holds, and watches the program; a.mu is held.
func (f *Fleet) adoptClaim(a *agent, c claim) error {
	leader, ok := first(c.stats())
	if !ok {
		return errors.New("its program has ended")
	}
	rec, err := ledger.Inscription(leader.Descriptor(process.LockFD))
	if err != nil {
		return fmt.Errorf("its lock does not tell how it was started: %w", err)
	}
	switch {
	case rec.Agent != a.name || rec.Token != c.Token || rec.State != ledger.Running:
		return errors.New("its lock tells of another start")
	case rec.Process.PID != leader.PID || rec.Process.StartTime != leader.StartTime:
		return errors.New("its program has ended")
	}
	p, err := f.adopt(rec)
	if err != nil {
		return err
	}
	f.o.Log.Warn("agent recognised by its marks: this runner has lost its record", "agent", a.name, "incarnation", rec.Incarnation(), "pid", leader.PID)
	rec.Outbox = a.rec.Outbox
	a.rec = rec
	f.write(a)
	f.adopted(a)
	f.watch(a, p)
	return nil
}

// endClaim ends a start that cannot be watched, and reports its end; a.mu is
// held.
func (f *Fleet) endClaim(a *agent, c claim, saw *process.Snapshot, why error) {
	f.o.Log.Warn("ending an agent that this runner has no record of", "agent", a.name, "incarnation", c.Incarnation,
		"processes", len(c.of), "first", c.of[0].PID, "error", why)
	id := saw.Identity(procfs.Stat{})
	if leader, ok := first(c.stats()); ok {
		id = saw.Identity(leader)
	}
	a.rec = ledger.Record{
		Agent: a.name, Highest: max(a.rec.Highest, c.Incarnation), Token: c.Token, Process: id, Outbox: a.rec.Outbox,
		Start: contracts.StartCommand{Agent: a.name, Incarnation: c.Incarnation, ShutdownTimeout: contracts.Duration(c.ShutdownTimeout)},
	}
	a.gone(contracts.Exit{Code: -1, Unknown: true}, "runner lost its state directory")
	f.mu.Lock()
	f.count(+1)
	f.mu.Unlock()
	a.live(nil)
	f.write(a)
	f.goEnd(a)
}

// kill kills what lives of a start whose end was told already, or whose place a
// newer one has.
func (f *Fleet) kill(c claim, what string) {
	var errs []error
	killed := 0
	for _, p := range c.of {
		if now, err := procfs.ReadStat(p.PID); err == nil && now.Alive() && now.StartTime == p.StartTime {
			killed++
			errs = append(errs, process.Signal(p.Stat, unix.SIGKILL))
		}
	}
	if killed > 0 {
		f.o.Log.Warn(what, "agent", c.Agent, "incarnation", c.Incarnation, "processes", killed, "first", c.of[0].PID, "error", errors.Join(errs...))
	}
}

// claims returns the starts of which processes live and no record tells, by
// agent and newest first: those that this runner made. Starts that another
// runner of this name may have made are set aside as kin, see endKin.
func (f *Fleet) claims(saw *process.Snapshot) map[string][]claim {
	mine, kin := map[string][]claim{}, map[string][]claim{}
	for _, of := range saw.Marked() {
		c, ok := newClaim(of)
		if !ok || c.Runner != f.o.Runner || f.recorded(c.Marks) {
			continue
		}
		switch {
		case slices.ContainsFunc(of, f.madeHere):
			mine[c.Agent] = append(mine[c.Agent], c)
		case f.maybeKin(c):
			kin[c.Agent] = append(kin[c.Agent], c)
			f.o.Log.Warn("an agent of a runner of this name, with another state directory, runs on this host; it is ended before an agent of its name is started",
				"agent", c.Agent, "incarnation", c.Incarnation, "first", of[0].PID, "state_dir", c.StateDir)
		}
	}
	f.mu.Lock()
	f.kin = kin
	f.mu.Unlock()
	for _, claims := range []map[string][]claim{mine, kin} {
		for _, cs := range claims {
			slices.SortFunc(cs, func(a, b claim) int { return cmp.Compare(b.Incarnation, a.Incarnation) })
		}
	}
	return mine
}

// recorded reports whether a record of this runner tells of a start, as one of
// which processes may live.
func (f *Fleet) recorded(m ledger.Marks) bool {
	f.mu.Lock()
	a := f.agents[m.Agent]
	f.mu.Unlock()
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rec.Live() && a.rec.Token == m.Token
}

// madeHere reports whether a process that names this runner was started from
// this state directory. What the process says is not enough: a container's
// directory may have the same name, and its processes can be seen from the host.
func (f *Fleet) madeHere(p procfs.Process) bool {
	marks, ok := ledger.ParseMarks(p.Vars)
	if !ok || marks.StateDir != f.o.Ledger.Dir() || !here(p.Stat) {
		return false
	}
	theirs, err := os.Stat(p.Root(marks.StateDir))
	if err != nil {
		return false
	}
	ours, err := os.Stat(f.o.Ledger.Dir())
	return err == nil && os.SameFile(theirs, ours)
}

// here reports whether a process lives in the pid namespace of this one.
func here(p procfs.Stat) bool {
	theirs, err := procfs.Namespace(p.PID)
	if err != nil {
		return false
	}
	ours, err := procfs.PIDNamespace()
	return err == nil && theirs == ours
}

// maybeKin reports whether a start may be of this runner when it had another
// state directory: names of runners are unique where they share NATS, and no
// runner uses that directory.
func (f *Fleet) maybeKin(c claim) bool {
	return c.StateDir != "" && c.StateDir != f.o.Ledger.Dir() && c.NATSURL == f.o.Env.NATSURL &&
		slices.ContainsFunc(c.of, func(p procfs.Process) bool { return here(p.Stat) }) && !ledger.InUse(c.StateDir)
}

// endKin begins to end what lives of an agent that is to be started and that a
// runner of this name had started from another state directory: it would be a
// second copy. a.mu is held.
func (f *Fleet) endKin(a *agent) {
	f.mu.Lock()
	claims := f.kin[a.name]
	delete(f.kin, a.name)
	f.mu.Unlock()
	if len(claims) == 0 {
		return
	}
	saw := f.census.Take() // they may have ended since
	marked := saw.Marked()
	claims = slices.DeleteFunc(claims, func(c claim) bool { return len(marked[c.Token]) == 0 || ledger.InUse(c.StateDir) })
	for _, c := range claims {
		c.of = marked[c.Token]
		if a.rec.Live() {
			f.kill(c, "ended another copy of an agent")
		} else {
			f.endClaim(a, c, saw, errors.New("it was started from state directory "+c.StateDir))
		}
	}
}
