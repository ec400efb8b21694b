package reaper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// conn is a connection to a reaper.
type conn struct {
	home   home
	socket *net.UnixConn
	from   receiver
	id     process.Identity
	// around is what its programs inherit, see surroundings.
	around string
	pidfd  int           // of the reaper
	gone   chan struct{} // closed when nothing more comes of it

	mu      sync.Mutex
	lost    bool
	left    bool                   // the runner closed it
	answers map[string]chan answer // by token
}

// errNotSent tells that the reaper had ended before it could be asked.
var errNotSent = errors.New("it has ended before it was asked")

type answer struct {
	m     message
	pidfd int // or -1
}

// hello reads what a reaper says at first.
func (r *Reaper) hello(c *conn) error {
	m, fds, err := c.from.next()
	if err != nil {
		return err
	}
	epoch, err := process.CurrentEpoch()
	switch {
	case err != nil:
	case m.Op != opHello || m.Version != version:
		err = fmt.Errorf("%w: it speaks version %d, this runner %d", errMessage, m.Version, version)
	case m.Process.Epoch != epoch:
		err = fmt.Errorf("%w: it lives in another container", errMessage)
	case len(fds) != 1 || !ownUser(c.socket):
		err = fmt.Errorf("%w: it does not say who it is", errMessage)
	}
	if err != nil {
		closeAll(fds)
		return err
	}
	c.id, c.around, c.pidfd = m.Process, m.Around, fds[0]
	for {
		m, fds, err := c.from.next()
		if err != nil {
			return err
		}
		closeAll(fds)
		if m.Op == opReady {
			return nil
		}
		r.learn(c, m)
	}
}

// follow reads what the reaper says until it has ended, or the runner leaves.
func (r *Reaper) follow(c *conn) {
	defer close(c.gone)
	var err error
	for {
		var m message
		var fds []int
		if m, fds, err = c.from.next(); err != nil {
			break
		}
		r.learn(c, m)
		if m.Op == opStarted || m.Op == opFailed {
			c.answered(m, fds)
		} else {
			closeAll(fds)
		}
	}
	if !c.isLeft() {
		// Only when it has ended are its children another's, to be asked for there.
		// One that sent what it should not have is of no use either.
		c.waitEnd()
		r.log.Warn("the reaper has ended; the next start begins another", "pid", c.id.PID, "error", err)
		_ = os.RemoveAll(string(c.home))
	}
	r.abandon(c)
	c.abandon()
}

// learn keeps what the reaper says about a program.
func (r *Reaper) learn(c *conn, m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, known := r.programs[m.Token]
	switch m.Op {
	case opRunning, opStarted:
		r.programs[m.Token] = program{id: m.Process, conn: c, end: newEnd()}
	case opEnded:
		if !known || p.is() && p.exit == nil {
			p = program{id: m.Exit.Process, end: newEnd(), taken: p.taken}
		}
		p.conn = c
		r.programs[m.Token] = p
		if p.as(m.Exit); p.taken {
			r.forget(m.Token)
		}
	}
}

// abandon gives up what a reaper that has ended had, except what it wrote down.
func (r *Reaper) abandon(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for token, p := range r.programs {
		if p.conn != c {
			continue
		}
		if p.taken {
			delete(r.programs, token)
		}
		if exit, ok := r.exits.load(token); ok {
			p.as(&exit)
		} else {
			p.as(nil)
		}
	}
}

// ask sends a message and waits for its answer. The descriptor is the caller's.
func (c *conn) ask(m message, fds ...int) (message, int, error) {
	ch := make(chan answer, 1)
	c.mu.Lock()
	if c.lost {
		c.mu.Unlock()
		return message{}, -1, errNotSent
	}
	c.answers[m.Token] = ch
	c.mu.Unlock()
	if err := send(c.socket, m, fds...); err != nil {
		c.mu.Lock()
		delete(c.answers, m.Token)
		c.mu.Unlock()
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			err = errNotSent
		}
		return message{}, -1, fmt.Errorf("reaper: %w", err)
	}
	nudge := time.AfterFunc(nudgeAfter, c.nudge)
	defer nudge.Stop()
	a, ok := <-ch
	if !ok {
		return message{}, -1, ErrLost
	}
	return a.m, a.pidfd, nil
}

func (c *conn) answered(m message, fds []int) {
	c.mu.Lock()
	ch := c.answers[m.Token]
	delete(c.answers, m.Token)
	c.mu.Unlock()
	pidfd := -1
	if len(fds) > 0 && ch != nil {
		pidfd, fds = fds[0], fds[1:]
	}
	closeAll(fds)
	if ch != nil {
		ch <- answer{m, pidfd}
	}
}

// abandon tells all that wait that there is no answer.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	for token, ch := range c.answers {
		delete(c.answers, token)
		close(ch)
	}
	if c.pidfd >= 0 {
		_ = unix.Close(c.pidfd)
		c.pidfd = -1
	}
}

// leave lets the reaper go on without this runner.
func (c *conn) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	_ = c.socket.Close()
}

func (c *conn) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

func (c *conn) isLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// alive reports whether the reaper's process lives. A nil conn is to none.
func (c *conn) alive() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pidfd >= 0 && !readable(c.pidfd, 0)
}

// waitEnd returns when the reaper's process has ended. One that has closed the
// connection and lives is ended.
func (c *conn) waitEnd() {
	for !readable(c.pidfd, reachPatience) {
		_ = unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
	}
	// If this process has started it; it may have been reaped as an orphan, too.
	_, _ = unix.Wait4(c.id.PID, nil, unix.WNOHANG, nil)
}

// nudge lets the reaper go on if somebody has stopped it.
func (c *conn) nudge() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pidfd >= 0 {
		_ = unix.PidfdSendSignal(c.pidfd, unix.SIGCONT, nil, 0)
	}
}

// readable reports whether a process has ended, by its descriptor.
func readable(pidfd int, wait time.Duration) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}
