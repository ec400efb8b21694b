package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/cgroup"
	"github.com/mistersmith/mistersmith/services/runner/internal/envfile"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// Start carries out a valid start command. It is idempotent by agent and
// incarnation.
func (f *Fleet) Start(cmd contracts.StartCommand) contracts.RunnerReply {
	begin := time.Now()
	if cmd.Agent == f.o.Runner {
		return contracts.RunnerReply{
			Code: contracts.RunnerInvalid, Agent: cmd.Agent, Incarnation: cmd.Incarnation,
			Error: fmt.Sprintf("agent %s: this is the runner's own name, under which it beats; rename one of the two", cmd.Agent),
		}
	}
	a := f.agent(cmd.Agent)
	if a == nil {
		return contracts.RunnerReply{
			Code: contracts.RunnerFull, Agent: cmd.Agent, Incarnation: cmd.Incarnation,
			Error: fmt.Sprintf("agent %s: runner %s remembers %d others, its limit; remove directories of agents that are no more from its state directory while it is stopped", cmd.Agent, f.o.Runner, maxKnown),
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// With a.mu held, so that a list that does not show this start comes before
	// its own fence.
	if why, told := f.fenced(cmd); why != "" {
		return contracts.RunnerReply{
			Code: contracts.RunnerFenced, Agent: cmd.Agent, Incarnation: cmd.Incarnation, Term: told,
			Error: fmt.Sprintf("agent %s incarnation %d: %s", cmd.Agent, cmd.Incarnation, why),
		}
	}
	f.endKin(a)
	reply := admit(a.rec, cmd)
	if reply.Code == contracts.RunnerOK && reply.PID == 0 {
		reply = f.start(a, cmd, reply)
		if reply.Code == contracts.RunnerOK {
			f.o.Log.Info("agent started", "agent", a.name, "incarnation", cmd.Incarnation, "pid", reply.PID)
		} else {
			f.o.Log.Warn("agent not started", "agent", a.name, "incarnation", cmd.Incarnation, "code", string(reply.Code), "error", reply.Error)
		}
	}
	f.o.Observe.Start(reply.Code, time.Since(begin))
	return reply
}

// start starts the process; a.mu is held and nothing of the agent runs, unless
// its lock says otherwise.
func (f *Fleet) start(a *agent, cmd contracts.StartCommand, reply contracts.RunnerReply) contracts.RunnerReply {
	fail := func(code contracts.RunnerCode, err error) contracts.RunnerReply {
		reply.Code, reply.Error = code, err.Error() // the reply names agent and incarnation
		return reply
	}
	switch code := f.reserve(); code {
	case contracts.RunnerFull:
		return fail(code, fmt.Errorf("runner %s runs %d agents already, its limit", f.o.Runner, f.o.MaxAgents))
	case contracts.RunnerStopping:
		return fail(code, fmt.Errorf("runner %s is shutting down", f.o.Runner))
	}
	before := a.rec
	err := f.launch(a, cmd)
	if err == nil {
		reply.PID, reply.Started = a.rec.Process.PID, a.started()
		return reply
	}
	f.release()
	switch {
	case errors.Is(err, errUncertain):
		a.gone(contracts.Exit{Code: -1, Unknown: true}, errUncertain.Error())
		f.record(a)
		f.o.Notify(a.name)
		return admit(a.rec, cmd)
	case process.LacksResources(err):
		f.restored(a, before)
		return fail(contracts.RunnerNoResources, err)
	case errors.Is(err, ledger.ErrHeld):
		reply.Incarnation = max(before.Incarnation(), 1)
		return fail(contracts.RunnerStillRunning, err)
	case errors.Is(err, errRecord):
		return fail(contracts.RunnerInternal, err)
	}
	if err := f.failed(a, cmd, err); err != nil {
		return fail(contracts.RunnerInternal, err)
	}
	return fail(contracts.RunnerStartFailed, err)
}

// restored takes back that a start was written down: nothing ran, and the same
// incarnation may be tried again.
func (f *Fleet) restored(a *agent, before ledger.Record) {
	if a.rec.Token == before.Token {
		return // it was not
	}
	a.rec = before
	f.write(a)
}

// failed writes down, before anybody is told, that this incarnation will never
// run.
func (f *Fleet) failed(a *agent, cmd contracts.StartCommand, why error) error {
	cmd.Env, cmd.Vars = nil, nil
	rec := ledger.Record{
		Agent: a.name, Highest: cmd.Incarnation, Start: cmd, Failure: why.Error(), Outbox: a.rec.Outbox,
	}
	if err := f.o.Ledger.Save(rec); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	a.rec = rec
	return nil
}

// errRecord tells that the start could not be written down, so it was not made.
var errRecord = errors.New("not recorded")

// launch goes from record to process to completed record.
func (f *Fleet) launch(a *agent, cmd contracts.StartCommand) (failed error) {
	expanded, err := cmd.Expanded()
	if err != nil {
		return err
	}
	dir, err := f.workDir(expanded.Dir)
	if err != nil {
		return err
	}
	token := uuid.NewString()
	env, attr, err := f.surroundings(expanded, token)
	if err != nil {
		return err
	}
	defer func() {
		if attr.Cgroup != "" && failed != nil && !errors.Is(failed, errUncertain) {
			cgroup.Remove(attr.Cgroup)
		}
	}()
	if a.rec.Start.LeaveChildren && errors.Is(f.o.Ledger.Free(a.name), ledger.ErrHeld) {
		// By what it was to leave behind; the program itself has ended.
		if err := f.o.Ledger.Renew(a.name); err != nil {
			return err
		}
	}
	lock, err := f.o.Ledger.Lock(a.name)
	if err != nil {
		return err
	}
	defer lock.Close() // from here on the program itself holds it
	opened := a.out == nil
	out, err := f.openOutput(a, cmd)
	if err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	defer out.Close()
	defer func() {
		if failed != nil && opened && !errors.Is(failed, errUncertain) {
			f.closeOutput(a, false)
		}
	}()
	if attr.User != nil { // so that it can open /dev/stdout
		if err := out.Chown(attr.User.UID, attr.User.GID); err != nil {
			f.o.Log.Debug("output stays the runner's", "agent", a.name, "error", err)
		}
	}

	epoch, err := process.CurrentEpoch()
	if err != nil {
		return err
	}
	cmd.Env, cmd.Vars = nil, nil // they may hold secrets and are not needed again
	rec := ledger.Record{
		Agent: a.name, Highest: cmd.Incarnation, State: ledger.Starting,
		Start: cmd, Token: token, Started: time.Now().UTC(), Outbox: a.rec.Outbox,
		Process: process.Identity{Epoch: epoch},
	}
	save := f.o.Ledger.Save
	if cmd.BootID != "" && cmd.BootID == f.o.BootID {
		save = f.o.Ledger.Write // the order is refused after a loss of power
	}
	if err := save(rec); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	a.rec, a.tidied = rec, false
	p, err := f.fork(a, process.Command{Argv: expanded.Command, Env: env, Dir: dir, Output: out, Lock: lock, Attributes: attr})
	if errors.Is(err, errUncertain) {
		return err
	}
	if err != nil {
		a.rec.State = ledger.Idle // nothing ran
		return err
	}
	f.running(a, p)
	return nil
}

// running completes the record of a process that was started, and watches it;
// a.mu is held.
func (f *Fleet) running(a *agent, p *process.Process) {
	a.rec.State, a.rec.Process = ledger.Running, p.Identity()
	if err := f.o.Ledger.Inscribe(a.rec); err != nil {
		f.o.Log.Warn("a runner that loses its state directory would not know this agent, and end it", "agent", a.name, "error", err)
	}
	f.tell(a, f.startedEvent(a.rec))
	f.write(a)
	f.watch(a, p)
	f.o.Notify(a.name)
}

// surroundings returns the environment of a start and what else its program gets.
func (f *Fleet) surroundings(cmd contracts.StartCommand, token string) (env []string, attr process.Attributes, err error) {
	as, err := resolve(cmd.User, cmd.Group)
	if err != nil {
		return nil, attr, err
	}
	if attr, err = f.attributes(cmd, as); err != nil {
		return nil, attr, err
	}
	var file map[string]string
	if path := cmd.EnvFile; path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(f.o.WorkDir, path)
		}
		if file, err = envfile.Read(path); err != nil {
			return nil, attr, fmt.Errorf("env_file: %w", err)
		}
	}
	if env, err = f.o.Env.For(cmd, f.o.Runner, as, file, f.o.Ledger.MarkEnv(token)); err != nil {
		return nil, attr, err
	}
	if l := f.grouped(cmd); l != (cgroup.Limits{}) {
		attr.Cgroup, err = f.o.Groups.Group(cmd.Agent, cmd.Incarnation, l)
	}
	return env, attr, err
}

func (f *Fleet) workDir(dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(f.o.WorkDir, dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("working directory %s: not a directory", dir)
	}
	return dir, nil
}
