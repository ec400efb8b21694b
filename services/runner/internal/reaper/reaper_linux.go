package reaper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

const (
	// nudgeAfter is how long the reaper may take to say how a program ended. Then
	// it is continued, in case that somebody has stopped it, and gets answerPatience.
	nudgeAfter     = time.Second
	answerPatience = 10 * time.Second
)

// Reaper is a runner's way to its reaper. Its methods may be used concurrently.
type Reaper struct {
	dir string // below the state directory
	log *slog.Logger

	connecting sync.Mutex

	mu       sync.Mutex
	conn     *conn // the last one
	closed   bool
	programs map[string]program // by token
	wg       sync.WaitGroup
}

// program is one that a reaper has started, and whose end the runner has not
// written down.
type program struct {
	id    process.Identity
	conn  *conn // to the reaper that has it, or had
	taken bool  // how it ended is in the runner's record, and the reaper has not said it yet
	*end
}

// end is the end of a program.
type end struct {
	done chan struct{} // closed when exit is known, or never will be
	exit *Exit         // or nil
}

func newEnd() *end { return &end{done: make(chan struct{})} }

func (e *end) is() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// as makes the exit known, or that it never will be; Reaper.mu is held.
func (e *end) as(exit *Exit) {
	if !e.is() {
		e.exit = exit
		close(e.done)
	}
}

// Open finds the reaper of a state directory, which the caller holds, or starts
// one.
func Open(stateDir string, log *slog.Logger) (*Reaper, error) {
	r := &Reaper{dir: filepath.Join(stateDir, "reaper"), log: log, programs: map[string]program{}}
	if err := os.MkdirAll(filepath.Join(r.dir, "exits"), 0o700); err != nil {
		return nil, fmt.Errorf("reaper: %w", err)
	}
	if _, err := r.connected(); err != nil {
		return nil, err
	}
	return r, nil
}

// Close leaves the reaper alone, which ends when it is not needed.
func (r *Reaper) Close() {
	r.mu.Lock()
	r.closed = true
	c := r.conn
	r.mu.Unlock()
	_ = c.socket.Close()
	r.wg.Wait()
}

// Start has a program started, as [process.Start] does. After ErrLost it may run,
// or have run.
func (r *Reaper) Start(token string, cmd process.Command) (*process.Process, error) {
	c, err := r.connected()
	if err != nil {
		r.log.Warn("no reaper; exit codes of agents that end while no runner lives may be lost", "error", err)
		return process.Start(cmd)
	}
	b, err := encodeCommand(cmd)
	if err != nil {
		return nil, err
	}
	file, err := commandFile(b)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, pidfd, err := c.ask(message{Op: opStart, Token: token}, int(file.Fd()), int(cmd.Output.Fd()), int(cmd.Lock.Fd()))
	if err != nil {
		return nil, err
	}
	if m.Op == opFailed {
		return nil, remoteError{m.Error, syscall.Errno(m.Errno)}
	}
	if pidfd < 0 { // no room for it
		_, _, err = c.ask(message{Op: opAbort, Token: token})
		r.mu.Lock()
		delete(r.programs, token)
		r.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("watch %s: %w", cmd.Argv[0], unix.EMFILE), err)
	}
	return process.Given(m.Process, pidfd, r.statusOf(token))
}

// remoteError is an error that the reaper had.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e remoteError) Error() string { return e.text }

func (e remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// Find returns what a reaper knows of a start. Exit is nil while it runs. A nil
// Reaper knows nothing.
func (r *Reaper) Find(token string) (id process.Identity, exit *Exit, ok bool) {
	p, ok := r.program(token)
	if !ok || !p.is() {
		return p.id, nil, ok
	}
	return p.id, p.exit, p.exit != nil
}

// Attach makes a process that was adopted one whose status the reaper tells, if
// the reaper has it.
func (r *Reaper) Attach(token string, p *process.Process) {
	if _, ok := r.program(token); ok {
		p.ReapedBy(r.statusOf(token))
	}
}

func (r *Reaper) program(token string) (program, bool) {
	if r == nil {
		return program{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.programs[token]
	return p, ok
}

func (r *Reaper) statusOf(token string) func() (process.Status, bool) {
	return func() (process.Status, bool) {
		exit, ok := r.Await(token)
		return exit.Status(), ok
	}
}

// Await waits for the reaper to say how a program that has ended did so. That
// comes soon, unless the reaper is stuck.
func (r *Reaper) Await(token string) (Exit, bool) {
	p, ok := r.program(token)
	if !ok {
		return Exit{}, false
	}
	nudge := time.AfterFunc(nudgeAfter, p.conn.nudge)
	defer nudge.Stop()
	enough := time.NewTimer(answerPatience)
	defer enough.Stop()
	select {
	case <-p.done:
	case <-enough.C:
		return Exit{}, false
	}
	if p.exit == nil {
		return Exit{}, false
	}
	return *p.exit, true
}

// Taken says that the runner has written down how a program ended.
func (r *Reaper) Taken(token string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.programs[token]
	if !ok {
		return
	}
	if p.taken = true; p.is() {
		r.forget(token)
	} else {
		r.programs[token] = p // until the reaper has it, see learn
	}
}

// forget has the reaper forget how a program ended; r.mu is held. Nobody waits for
// that, least of all those that the reaper may wait for.
func (r *Reaper) forget(token string) {
	c := r.programs[token].conn
	delete(r.programs, token)
	r.wg.Go(func() { _ = send(c.socket, message{Op: opTaken, Token: token}) }) // if it is lost, the next runner says it
}

// Ended returns the starts whose status is known and not taken.
func (r *Reaper) Ended() []string {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var tokens []string
	for token, p := range r.programs {
		if p.is() {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// Root returns the process whose children a start and its orphans are, while
// its reaper lives.
func (r *Reaper) Root(token string) (pid int, ok bool) {
	p, ok := r.program(token)
	if !ok || !p.conn.alive() {
		return 0, false
	}
	return p.conn.id.PID, true
}

// PID returns the process of the reaper, if it lives.
func (r *Reaper) PID() (pid int, ok bool) {
	if r == nil {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.conn.alive() {
		return 0, false
	}
	return r.conn.id.PID, true
}
