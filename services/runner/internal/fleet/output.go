package fleet

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// tailLines is how many of the last lines of output an event may carry.
const tailLines = 20

func (f *Fleet) place(a *agent) output.Place {
	p := output.Place{FIFO: f.o.Ledger.FIFOPath(a.name), Dir: f.o.Ledger.OutputDir(a.name)}
	if f.o.Forward != nil {
		p.Copy = f.o.Forward.Agent(a.name).Stored
	}
	return p
}

// kept is what is kept of an agent's output.
func (f *Fleet) kept(cmd contracts.StartCommand) output.Limits {
	l := f.o.Output
	if o := cmd.Output; o != nil && o.MaxBytes > 0 {
		l.Bytes = o.MaxBytes
	}
	return l
}

// openOutput begins to store what an incarnation is going to print, and opens what
// it prints to; a.mu is held.
func (f *Fleet) openOutput(a *agent, cmd contracts.StartCommand) (end *os.File, err error) {
	if a.out != nil { // what it left behind may print on
		err = a.out.Begin(cmd.Incarnation, f.kept(cmd))
	} else {
		a.out, err = output.Record(f.place(a), cmd.Incarnation, f.kept(cmd), f.o.Log.With("agent", a.name))
	}
	if err != nil {
		return nil, err
	}
	if end, err = a.out.End(); err != nil {
		f.closeOutput(a, false)
	}
	return end, err
}

// adoptOutput continues to store what a program prints that a predecessor started;
// a.mu is held.
func (f *Fleet) adoptOutput(a *agent) {
	if a.out != nil {
		return
	}
	p, log := f.place(a), f.o.Log.With("agent", a.name)
	p.Before = f.o.Reaper.Output(a.rec.Token)
	// The FIFO may have been removed with the state directory.
	fd := procfs.Descriptor(a.rec.Process.PID, unix.Stdout)
	if target, err := os.Readlink(fd); err == nil && target == p.FIFO+" (deleted)" {
		p.FIFO = fd
	}
	out, err := output.Record(p, a.rec.Incarnation(), f.kept(a.rec.Start), log)
	if err != nil {
		log.Error("output of an adopted agent is not read; it will wait when it prints more", "error", err)
		return
	}
	a.out = out
}

// closeOutput ends the storing; keep leaves what the agent printed to a
// successor. a.mu is held.
func (f *Fleet) closeOutput(a *agent, keep bool) {
	if a.out == nil {
		return
	}
	a.out.Close(keep)
	a.out = nil
	if !keep && !a.rec.Start.LeaveChildren {
		_ = os.Remove(f.place(a).FIFO) // a reader of that would wait for ever
	}
}

// endOutput stores the last of what an incarnation printed that has ended. It
// returns the last lines if they are to be in the event about that: more people
// read events than output, which may hold secrets. a.mu is held.
func (f *Fleet) endOutput(a *agent) (tail string) {
	f.closeOutput(a, false)
	if f.o.TellOutput {
		var err error
		tail, err = output.Tail(f.o.Ledger.OutputDir(a.name), a.rec.Incarnation(), tailLines, contracts.MaxOutputTail)
		if err != nil {
			f.o.Log.Warn("last lines of an agent's output not found", "agent", a.name, "error", err)
		}
	}
	if a.rec.Start.LeaveChildren { // and these may print on
		f.adoptOutput(a)
	}
	return tail
}

// noteEnd records how an incarnation has ended with its output; a.mu is held.
func (f *Fleet) noteEnd(a *agent, failed bool) {
	lived := a.rec.Exit.At.Sub(a.rec.Started)
	if err := output.NoteEnd(f.o.Ledger.OutputDir(a.name), a.rec.Incarnation(), failed, lived); err != nil {
		f.o.Log.Warn("the output of a failure may not be kept", "agent", a.name, "incarnation", a.rec.Incarnation(), "error", err)
	}
}

// Forget records that agents are no longer in the tree that they were started
// for. Their output is deleted soon; see deleteOutput.
func (f *Fleet) Forget(cmd contracts.ForgetCommand) {
	for _, name := range cmd.Agents {
		f.mu.Lock()
		a := f.agents[name]
		f.mu.Unlock()
		if a == nil {
			continue
		}
		a.mu.Lock()
		if a.rec.Removed.IsZero() && !a.rec.Live() && a.rec.Start.Tree == cmd.Tree {
			a.rec.Removed = time.Now().UTC()
			f.write(a)
		}
		a.mu.Unlock()
	}
}

// deleteOutput deletes what removed agents have printed, when it has been kept for
// as long as it was to be.
func (f *Fleet) deleteOutput(now time.Time) {
	for _, a := range f.all() {
		a.mu.Lock()
		if !a.tidied && !a.rec.Removed.IsZero() && now.Sub(a.rec.Removed) >= f.o.KeepOutput {
			f.closeOutput(a, false)
			p := f.place(a)
			if err := errors.Join(os.RemoveAll(p.Dir), os.RemoveAll(p.FIFO)); err != nil {
				f.o.Log.Warn("output of a removed agent is not deleted yet", "agent", a.name, "error", err)
			} else {
				a.tidied = true
			}
		}
		a.mu.Unlock()
	}
}
