package reaper

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// reachPatience is how long a reaper may take to end, or to greet.
	reachPatience = 5 * time.Second
	reachInterval = 5 * time.Millisecond
)

// errEnded tells that the reaper of a home has ended.
var errEnded = errors.New("it has ended")

// home is the directory of one reaper.
type home string

// find connects to all reapers of the state directory that live. One that does not
// answer, or is of another version or container, is left alone: it keeps its agents.
func (r *Reaper) find() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		h := home(filepath.Join(r.dir, e.Name()))
		c, err := r.reach(h)
		switch {
		case errors.Is(err, errEnded):
			_ = os.RemoveAll(string(h))
		case err != nil:
			r.log.Warn("a reaper is not usable and left alone; how its agents end may be unknown", "dir", string(h), "error", err)
		default:
			r.conns = append(r.conns, c)
		}
	}
	return nil
}

// reach connects to the reaper of a home.
func (r *Reaper) reach(h home) (*conn, error) {
	deadline := time.Now().Add(reachPatience)
	for ; ; time.Sleep(reachInterval) {
		lock, err := h.lock()
		if err != nil {
			return nil, err
		}
		if lock != nil {
			_ = lock.Close()
			return nil, errEnded
		}
		c, err := r.dial(h, deadline)
		if err == nil || time.Now().After(deadline) || errors.Is(err, errMessage) {
			return c, err
		}
	}
}

// launch starts a reaper in a home of its own.
func (r *Reaper) launch() (*conn, error) {
	h, err := r.newHome()
	if err != nil {
		return nil, err
	}
	if err := h.launch(); err != nil {
		_ = os.RemoveAll(string(h))
		return nil, err
	}
	c, err := r.dial(h, time.Now().Add(reachPatience))
	if err != nil {
		said, _ := os.ReadFile(h.file("log"))
		return nil, fmt.Errorf("%w; %s", err, strings.TrimSpace(string(said)))
	}
	return c, nil
}

func (r *Reaper) newHome() (home, error) {
	for n := 1; ; n++ {
		h := home(filepath.Join(r.dir, strconv.Itoa(n)))
		if err := os.Mkdir(string(h), 0o700); !errors.Is(err, os.ErrExist) {
			return h, err
		}
	}
}

func (h home) file(name string) string { return filepath.Join(string(h), name) }

// lock takes the reaper's lock; nil means that a reaper has it.
func (h home) lock() (*os.File, error) {
	f, err := os.OpenFile(h.file("lock"), os.O_CREATE|os.O_RDWR, 0o600)
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

// socket calls f with the address of the reaper's socket. Its path has no room for
// every directory.
func (h home) socket(f func(*net.UnixAddr) error) error {
	dir, err := os.Open(string(h))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(&net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/socket", dir.Fd()), Net: "unixpacket"})
}

// launch starts a reaper, which inherits the lock and a socket that can be connected
// to at once.
func (h home) launch() error {
	lock, err := h.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	var listener *os.File
	err = h.socket(func(addr *net.UnixAddr) error {
		l, err := net.ListenUnix("unixpacket", addr)
		if err != nil {
			return err
		}
		defer l.Close()
		l.SetUnlinkOnClose(false)
		listener, err = l.File()
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	log, err := os.OpenFile(h.file("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Descriptors that this process was started with are none of its business.
	_ = unix.CloseRange(lockFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	cmd := exec.Cmd{
		Path: "/proc/self/exe", // of this version, also when the file was replaced
		Args: []string{processName, string(h)}, Dir: string(h), Stderr: log, ExtraFiles: []*os.File{lock, listener},
		Env: []string{"GOMAXPROCS=1", "GOGC=25"}, // small, and no secret of the runner's
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
func (r *Reaper) dial(h home, deadline time.Time) (*conn, error) {
	var socket *net.UnixConn
	err := h.socket(func(addr *net.UnixAddr) (err error) {
		socket, err = net.DialUnix("unixpacket", nil, addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &conn{home: h, socket: socket, from: receiver{conn: socket}, pidfd: -1, gone: make(chan struct{}), answers: map[string]chan answer{}}
	_ = socket.SetReadDeadline(deadline)
	if err := r.hello(c); err != nil {
		_ = socket.Close()
		r.abandon(c)
		c.abandon()
		return nil, err
	}
	_ = socket.SetReadDeadline(time.Time{})
	r.wg.Go(func() { r.follow(c) })
	return c, nil
}
