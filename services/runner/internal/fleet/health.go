package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/health"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// maxChecks bounds how many checks of health run at once, so that they take no host
// down. Waiting for a turn counts against nobody.
const maxChecks = 32

// maxVerdict bounds the text of a verdict.
const maxVerdict = 256

// attend watches the health of an agent for as long as its program lives. It returns
// a channel that is closed once it has passed its check for the first time, nil where
// it has none. a.mu is held.
func (f *Fleet) attend(a *agent, p *process.Process, done <-chan struct{}, start contracts.StartCommand) (well <-chan struct{}) {
	if start.Health == nil {
		return nil
	}
	spec := start.Health.Complete()
	bounds := health.Bounds{Spec: spec}
	if pace := bounds.Pace(); pace > 0 {
		f.wg.Go(func() { f.bound(a, p, done, &bounds, pace) })
	}
	if !spec.Checked() {
		return nil
	}
	passed := make(chan struct{})
	f.wg.Go(func() { f.check(a, p, done, start, spec, passed) })
	return passed
}

// check checks an agent again and again.
func (f *Fleet) check(a *agent, p *process.Process, done <-chan struct{}, start contracts.StartCommand, spec contracts.HealthSpec, passed chan<- struct{}) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	f.wg.Go(func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	})
	mark := f.id + "." + strconv.Itoa(p.Identity().PID)
	ask := health.NewCheck(spec, f.as(p, start, mark))
	streak := health.Streak{Failures: spec.Failures, Grace: start.StartDeadline.D()}
	tick := time.NewTicker(spec.Interval.D())
	defer tick.Stop()
	for {
		select {
		case f.checks <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := ask(ctx)
		if len(spec.Command) > 0 {
			f.endCheck(a.name, mark)
		}
		<-f.checks
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, health.ErrHost):
			f.o.Log.Warn("health not checked", "agent", a.name, "error", err)
		case p.Active(): // a program that is stopped cannot answer, and that is seen by its silence
			a.setUnwell(err)
			first, verdict := streak.Checked(p.Identity().Age(), err)
			if first {
				close(passed)
			}
			if verdict != "" {
				f.condemn(a, start.Incarnation, contracts.ReasonHealthCheckFailed, verdict)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// bound looks again and again whether an agent has passed a bound.
func (f *Fleet) bound(a *agent, p *process.Process, done <-chan struct{}, b *health.Bounds, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		seen := health.Seen{Age: p.Identity().Age()}
		if b.Spec.OutputWithin > 0 {
			seen.Printed = a.printed()
		}
		if b.Spec.MaxMemory > 0 {
			if u, err := procfs.UsageOf(p.Identity().PID); err == nil {
				seen.Resident = u.Resident
			}
		}
		if reason, verdict := b.Judge(seen); reason != "" && p.Active() {
			f.condemn(a, a.incarnation(), reason, verdict)
			return
		}
		select {
		case <-tick.C:
		case <-done:
			return
		case <-f.ctx.Done():
			return
		}
	}
}

// printed is a number that changes whenever an agent prints.
func (a *agent) printed() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out == nil {
		return 0
	}
	return a.out.Printed()
}

// as is how the agent's program runs. A predecessor may have started it, with
// variables that no record has.
func (f *Fleet) as(p *process.Process, start contracts.StartCommand, mark string) health.As {
	as := health.As{Run: f.runCheck}
	as.Dir, _ = f.workDir(start.Dir) // the check says what is wrong with it
	pid := p.Identity().PID
	if start.Expand { // by variables that no record has
		as.Dir, _ = procfs.WorkDir(pid)
	}
	env, _ := procfs.Environ(pid)
	// A check is none of the agent's processes, whose end would wait for it.
	as.Env = slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return ledger.IsMark(name)
	})
	as.Env = append(as.Env, f.o.Ledger.CheckEnv(mark)...)
	if uid, gid, groups, err := procfs.Credentials(pid); err == nil && int(uid) != os.Geteuid() {
		as.User = &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}
	}
	return as
}

// setUnwell notes how the last check of an agent failed; nil: it did not.
func (a *agent) setUnwell(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unwell = ""; err != nil {
		a.unwell = contracts.Clip(err.Error(), maxVerdict)
	}
}

func (a *agent) incarnation() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rec.Incarnation()
}

// condemn tells that an agent does not work, though its program lives: whoever
// supervises it decides. It is told once of an incarnation.
func (f *Fleet) condemn(a *agent, incarnation uint64, reason contracts.FailureReason, verdict string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec.Incarnation() != incarnation || a.rec.State != ledger.Running || a.rec.Ending != nil || a.rec.Condemned {
		return
	}
	a.rec.Condemned = true
	f.tell(a, contracts.NewEvent(f.source(), contracts.AgentFailed, a.name, time.Now()).
		ID(contracts.DerivedID("agent condemned", a.rec.Token)).
		Data(contracts.AgentFailedData{
			Agent: a.name, Incarnation: incarnation, Reason: reason, Type: a.rec.Start.Type, Runner: f.o.Runner,
			Detail: contracts.Clip(fmt.Sprintf("%s (process %d)", verdict, a.rec.Process.PID), maxVerdict),
		}))
	f.write(a)
	f.o.Notify(a.name)
	f.o.Log.Warn("agent does not work", "agent", a.name, "incarnation", incarnation, "reason", string(reason), "error", verdict)
}
