package reaper

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

const (
	// reachPatience is how long a reaper may take to end, or to greet.
	reachPatience = 5 * time.Second
	reachInterval = 5 * time.Millisecond
	// maxLaunches bounds the reapers started for one connection.
	maxLaunches = 3
)

// conn is a connection to a reaper.
type conn struct {
	socket *net.UnixConn
	from   receiver
	id     process.Identity
	pidfd  int           // of the reaper
	gone   chan struct{} // closed when nothing more comes of it

	mu      sync.Mutex
	lost    bool
	answers map[string]chan answer // by token
}

type answer struct {
	m     message
	pidfd int // or -1
}

// connected returns a connection to a reaper, which is started if need be.
func (r *Reaper) connected() (*conn, error) {
	r.connecting.Lock()
	defer r.connecting.Unlock()
	r.mu.Lock()
	c, closed := r.conn, r.closed
	r.mu.Unlock()
	if closed {
		return nil, errors.New("reaper: the runner ends")
	}
	if c != nil {
		select {
		case <-c.gone:
		default:
			return c, nil
		}
	}
	c, err := r.connect()
	if err != nil {
		return nil, fmt.Errorf("reaper: %w", err)
	}
	r.mu.Lock()
	r.conn = c
	r.mu.Unlock()
	return c, nil
}

// connect reaches the reaper that lives, or a new one.
func (r *Reaper) connect() (*conn, error) {
	dir, err := os.Open(r.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// The path of a socket has no room for every directory.
	socket := fmt.Sprintf("/proc/self/fd/%d/socket", dir.Fd())
	deadline := time.Now().Add(reachPatience)
	for launches := 0; ; time.Sleep(reachInterval) {
		lock, err := r.lock()
		if err != nil {
			return nil, err
		}
		if lock != nil {
			launches++
			err = r.launch(lock, socket)
			_ = lock.Close()
			if err != nil {
				return nil, err
			}
		}
		c, err := r.dial(socket, deadline)
		switch {
		case err == nil:
			return c, nil
		case launches == maxLaunches:
			return nil, fmt.Errorf("it ends at once (%w); see %s", err, filepath.Join(r.dir, "log"))
		case launches == 0 && time.Now().After(deadline):
			// It holds the lock and does not answer, or is of another version. It
			// keeps its agents, and the next one gets the others.
			r.log.Warn("reaper not usable; it is left alone", "dir", r.dir, "error", err)
			if err := os.Remove(filepath.Join(r.dir, "lock")); err != nil {
				return nil, err
			}
			deadline = time.Now().Add(reachPatience)
		}
	}
}

// lock takes the reaper's lock; nil means that a reaper has it.
func (r *Reaper) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(r.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		_ = f.Close()
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return f, err
}

// launch starts a reaper, which inherits the lock and a socket that can be
// connected to at once.
func (r *Reaper) launch(lock *os.File, socket string) error {
	if err := os.Remove(filepath.Join(r.dir, "socket")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	listener, err := l.File()
	if err != nil {
		return err
	}
	defer listener.Close()
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Descriptors that this process was started with are none of its business.
	_ = unix.CloseRange(lockFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	cmd := exec.Cmd{
		Path: "/proc/self/exe", // of this version, also when the file was replaced
		Args: []string{processName, r.dir}, Dir: r.dir, Stderr: log, ExtraFiles: []*os.File{lock, listener},
		Env: []string{"GOMAXPROCS=1"}, // no secret of the runner's, and few threads
		// A session of its own: what is sent to the runner's group, or by its
		// terminal, does not reach it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start it: %w", err)
	}
	return cmd.Process.Release() // see waitEnd
}

// dial connects, and learns what the reaper has.
func (r *Reaper) dial(path string, deadline time.Time) (*conn, error) {
	socket, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	c := &conn{socket: socket, from: receiver{conn: socket}, pidfd: -1, gone: make(chan struct{}), answers: map[string]chan answer{}}
	_ = socket.SetReadDeadline(deadline)
	if err := r.hello(c); err != nil {
		_ = socket.Close()
		if c.pidfd >= 0 {
			_ = unix.Close(c.pidfd)
		}
		return nil, err
	}
	_ = socket.SetReadDeadline(time.Time{})
	r.wg.Go(func() { r.follow(c) })
	return c, nil
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
		err = errors.New("it lives in another container")
	case len(fds) != 1 || !ownUser(c.socket):
		err = fmt.Errorf("%w: it does not say who it is", errMessage)
	}
	if err != nil {
		closeAll(fds)
		return err
	}
	c.id, c.pidfd = m.Process, fds[0]
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
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if !closed {
		// Only when it has ended are its children another's, to be asked for there.
		// One that sent what it should not have is of no use either.
		c.waitEnd()
		r.log.Warn("the reaper has ended; the next start begins another", "pid", c.id.PID, "error", err)
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
		if !known {
			p = program{id: m.Exit.Process, end: newEnd(), taken: r.conn != nil} // its reaper was killed
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
		if exit, ok := exits(filepath.Join(r.dir, "exits")).load(token); ok {
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
		return message{}, -1, ErrLost
	}
	c.answers[m.Token] = ch
	c.mu.Unlock()
	if err := send(c.socket, m, fds...); err != nil && !closedByPeer(err) {
		// Nothing was sent, such as for want of memory.
		c.mu.Lock()
		delete(c.answers, m.Token)
		c.mu.Unlock()
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

// closedByPeer reports whether the reaper has ended: then the answer, or that
// there is none, comes from those who see its end.
func closedByPeer(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed)
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
	_ = unix.Close(c.pidfd)
	c.pidfd = -1
}

// alive reports whether the reaper's process lives.
func (c *conn) alive() bool {
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
