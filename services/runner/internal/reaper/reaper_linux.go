package reaper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

const (
	// nudgeAfter is how long the reaper may take to say how a program ended. Then
	// it is continued, in case that somebody has stopped it, and gets answerPatience.
	nudgeAfter     = time.Second
	answerPatience = 10 * time.Second
	usedPatience   = 250 * time.Millisecond
)

// Reaper is a runner's way to its reapers: to the one that starts its programs, and
// to former ones that still have some. Its methods may be used concurrently.
type Reaper struct {
	dir    string // below the state directory
	exits  exits
	output outputs
	around string // see surroundings
	// shutdown is the latest that a reaper has witnessed.
	shutdown shutdown
	log      *slog.Logger

	connecting sync.Mutex

	mu       sync.Mutex
	conn     *conn // to the one that starts programs
	conns    []*conn
	closed   bool
	programs map[string]program // by token
	wg       sync.WaitGroup     // follow
	telling  sync.WaitGroup     // forget
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

// Open finds the reapers of a state directory, which the caller holds, and starts
// one if none of them is as this runner is.
func Open(stateDir string, log *slog.Logger) (*Reaper, error) {
	dir := filepath.Join(stateDir, "reaper")
	r := &Reaper{dir: dir, exits: exits(filepath.Join(dir, "exits")), output: outputs(filepath.Join(dir, "output")), shutdown: loadShutdown(dir), log: log, programs: map[string]program{}}
	err := errors.Join(os.MkdirAll(string(r.exits), 0o700), os.MkdirAll(string(r.output), 0o700))
	if err == nil {
		r.around, err = surroundings()
	}
	if err == nil {
		err = r.find()
	}
	if err == nil {
		_, err = r.connected()
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("reaper: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for token, exit := range r.exits.all() {
		if _, known := r.programs[token]; !known { // its reaper has ended
			p := program{id: exit.Process, end: newEnd()}
			p.as(&exit)
			r.programs[token] = p
		}
	}
	r.output.tidy(func(token string) bool {
		_, known := r.programs[token]
		return known
	})
	for _, c := range r.conns {
		r.leaveIdle(c)
	}
	return r, nil
}

// connected returns a connection to a reaper for new programs, which is started if
// need be.
func (r *Reaper) connected() (*conn, error) {
	r.connecting.Lock()
	defer r.connecting.Unlock()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errors.New("the runner ends")
	}
	r.conns = slices.DeleteFunc(r.conns, (*conn).isGone)
	if r.conn == nil { // at first, one that is as this runner is
		if i := slices.IndexFunc(r.conns, func(c *conn) bool { return c.around == r.around }); i >= 0 {
			r.conn = r.conns[i]
		}
	}
	if c := r.conn; slices.Contains(r.conns, c) {
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, err := r.launch()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.conn, r.conns = c, append(r.conns, c)
	r.mu.Unlock()
	return c, nil
}

// leaveIdle leaves a former reaper that has nothing more for this runner, so that
// it ends; r.mu is held.
func (r *Reaper) leaveIdle(c *conn) {
	if c == nil || c == r.conn {
		return
	}
	for _, p := range r.programs {
		if p.conn == c {
			return
		}
	}
	c.leave()
}

// Close leaves the reapers alone, which end when they are not needed.
func (r *Reaper) Close() {
	r.mu.Lock()
	r.closed = true
	conns := slices.Clone(r.conns)
	r.mu.Unlock()
	r.telling.Wait()
	for _, c := range conns {
		c.leave()
	}
	r.wg.Wait()
}

// Start has a program started, as [process.Start] does. After ErrLost it may run,
// or have run.
func (r *Reaper) Start(token string, cmd process.Command) (*process.Process, error) {
	b, err := encodeCommand(cmd)
	if err != nil {
		return nil, err
	}
	file, err := process.Memory("command", b)
	if err != nil {
		return nil, fmt.Errorf("file for a command: %w", err)
	}
	defer file.Close()
	var c *conn
	var m message
	pidfd, err := -1, errNotSent
	for try := 0; try < 3 && errors.Is(err, errNotSent); try++ {
		if c, err = r.connected(); err != nil {
			r.log.Warn("no reaper; how agents end while no runner lives may be lost", "error", err)
			return process.Start(cmd)
		}
		m, pidfd, err = c.ask(message{Op: opStart, Token: token}, int(file.Fd()), int(cmd.Output.Fd()), int(cmd.Lock.Fd()))
		if errors.Is(err, errNotSent) {
			<-c.gone // then the next one is started
		}
	}
	switch {
	case errors.Is(err, errNotSent):
		return process.Start(cmd)
	case err != nil:
		return nil, err
	case m.Op == opFailed:
		return nil, remoteError{m.Error, syscall.Errno(m.Errno)}
	case pidfd < 0: // no room for it
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
	return r.await(token, answerPatience)
}

// Used waits for the reaper to say what a program that has ended had used. An end
// that is known otherwise waits for this no longer than usedPatience.
func (r *Reaper) Used(token string) *contracts.Resources {
	exit, _ := r.await(token, usedPatience)
	return exit.Used
}

func (r *Reaper) await(token string, patience time.Duration) (Exit, bool) {
	p, ok := r.program(token)
	if !ok {
		return Exit{}, false
	}
	nudge := time.AfterFunc(nudgeAfter, p.conn.nudge)
	defer nudge.Stop()
	enough := time.NewTimer(patience)
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
	r.telling.Go(func() {
		// What is lost of this the next runner does again.
		if c.alive() {
			_ = send(c.socket, message{Op: opTaken, Token: token})
		} else {
			_ = r.exits.remove(token)
			r.output.remove(token)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.leaveIdle(c)
	})
}

// Output returns the file that may have what a program printed last, while no runner
// lived. What is in the FIFO was printed after that.
func (r *Reaper) Output(token string) string {
	if _, ok := r.program(token); !ok {
		return ""
	}
	return r.output.file(token)
}

// InShutdown reports whether a program ended while its reaper had been told to end. A
// program of a boot or container that is over ended with that then.
func (r *Reaper) InShutdown(e Exit) bool { return r != nil && r.shutdown.ended(e) }

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

// HasParent reports whether the reaper that has a start still lives, so that all
// that the start left behind is below it.
func (r *Reaper) HasParent(token string) bool {
	p, ok := r.program(token)
	return ok && p.conn.alive()
}

// PID returns the process of the reaper that starts programs, if it lives.
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

// Roots returns the processes of all reapers.
func (r *Reaper) Roots() (pids []int) {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if c.alive() {
			pids = append(pids, c.id.PID)
		}
	}
	return pids
}
