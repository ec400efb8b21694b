// Package foreground runs one program in the foreground of its caller, as env and
// nice do: it has the caller's standard input, output and error, terminal and
// process group, so that nothing of it passes through this process.
//
// Signals sent to this process alone are sent on to the program; those that a
// terminal or a shell sends to the whole process group reach it without that, and
// are not sent twice (see witness). Whatever the program has detached is left
// alone when it ends, as a shell does; an ordered [Command.Stop] ends it too.
//
// As the first process of a pid namespace, such as a container's, this process
// reaps what ends in it.
package foreground

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// markVar marks every process of one command: what it starts inherits it.
const markVar = "SMITH_RUN"

// Exit codes of a program that could not be started, as shells have them.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
	// signalled is what an exit code begins at where a signal ended the program.
	signalled = 128
)

// Command is a program in the foreground. This process has one in its life. Its methods may be used concurrently.
type Command struct {
	started time.Time
	mark    string
	census  *process.Census
	program *process.Process
	witness *witness

	done chan struct{} // closed when the program has ended, and exit is set
	exit contracts.Exit

	mu sync.Mutex
	// failed is how the program's checks fail, exceeded which bound it has passed.
	failed, exceeded error
	// checks is held while a check of health has a child that only it reaps.
	checks sync.RWMutex
}

// Start starts a program with the environment of this process. It fails with an
// error that [StartCode] has an exit code for.
func Start(argv []string) (*Command, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	c := &Command{mark: uuid.NewString(), census: process.NewCensus(markVar), done: make(chan struct{})}
	signals := catch()
	c.witness = newWitness()
	c.started = time.Now().UTC()
	env := append(os.Environ(), markVar+"="+c.mark)
	c.program, err = process.Start(process.Command{Argv: argv, Env: env, Dir: dir, Foreground: true})
	if err != nil {
		signal.Stop(signals)
		c.witness.close()
		return nil, err
	}
	ended := make(chan struct{})
	go c.relay(signals, ended)
	if os.Getpid() == 1 {
		go c.reap(ended)
	}
	go func() {
		c.wait()
		close(ended)
		c.witness.close()
		close(c.done)
	}()
	return c, nil
}

// StartCode is the exit code for a start that failed, as shells have them.
func StartCode(err error) int {
	if errors.Is(err, process.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// wait waits for the end of the program and reaps it.
func (c *Command) wait() {
	defer c.program.Close()
	if err := c.program.Wait(context.Background()); err != nil {
		c.exit = contracts.Exit{Code: -1, Unknown: true, At: time.Now().UTC()}
		return
	}
	c.exit = c.program.Reap().Exit()
	c.exit.Lived = contracts.Duration(c.program.Identity().Age())
	if c.exit.At.IsZero() {
		c.exit.At = time.Now().UTC()
	}
}

// PID is the program's.
func (c *Command) PID() int { return c.program.Identity().PID }

// Mark tells this start from every other.
func (c *Command) Mark() string { return c.mark }

// Started is when the program was started.
func (c *Command) Started() time.Time { return c.started }

// Done is closed when the program has ended.
func (c *Command) Done() <-chan struct{} { return c.done }

// Exit is how the program has ended, once Done is closed.
func (c *Command) Exit() contracts.Exit { return c.exit }

// Code is the exit code that a shell has for the end, once Done is closed: 128 and
// the number of the signal for one that a signal ended.
func (c *Command) Code() int {
	switch sig := unix.SignalNum(c.exit.Signal); {
	case sig != 0:
		return signalled + int(sig)
	case c.exit.Unknown:
		return 1
	}
	return c.exit.Code
}

// Stop ends the program and all that it has started: each process gets SIGTERM
// once, and SIGKILL if it lives on when the grace is over. It returns when nothing
// is left, or when ctx is done.
func (c *Command) Stop(ctx context.Context, grace time.Duration) {
	bound, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	told := map[procfs.Stat]bool{}
	for first := true; ctx.Err() == nil; first = false {
		up := !c.Ended() // before the look, which then has all that it left
		left := c.left()
		if !up && len(left) == 0 {
			return
		}
		over := bound.Err() != nil
		for _, s := range left {
			id := procfs.Stat{PID: s.PID, StartTime: s.StartTime}
			switch {
			case over:
				_ = process.Signal(s, syscall.SIGKILL)
			case !told[id] && (first || !up): // while it lives, the program decides about what it starts
				told[id] = true
				_ = process.Signal(s, syscall.SIGTERM)
			}
		}
		c.await(bound, over, left)
	}
}

// await waits until processes have ended, or until the time is over for them.
func (c *Command) await(bound context.Context, over bool, left []procfs.Stat) {
	if over {
		var cancel context.CancelFunc
		bound, cancel = context.WithTimeout(context.WithoutCancel(bound), time.Second)
		defer cancel()
	}
	process.WaitGone(bound, left)
	if len(left) == 0 { // the program is just ending
		select {
		case <-c.done:
		case <-bound.Done():
		}
	}
}

// left returns what lives of the program and of all that it has started.
func (c *Command) left() []procfs.Stat {
	id := c.program.Identity()
	return c.census.Take().Of(process.Tree{Mark: c.mark, Known: []procfs.Stat{{PID: id.PID, StartTime: id.StartTime}}})
}

// Ended reports whether the program has ended.
func (c *Command) Ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
