package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// LockFD is the file descriptor at which the program finds its lock. It must
// leave it open; most programs never notice it.
const LockFD = 3

// Process is a running program, or what is left of it. Its methods may be used
// from several goroutines.
type Process struct {
	id    Identity
	pidfd *os.File

	// reaped returns the status of a program that another process reaps.
	reaped func() (Status, bool)
	once   sync.Once // reaps
	status Status
}

// Start runs a program. It returns once the kernel has accepted the program
// (so a missing or unusable one is an error here), not when it works.
func Start(c Command) (*Process, error) {
	program, err := Lookup(c.Argv[0], c.Dir, c.Env)
	if err != nil {
		return nil, err
	}
	epoch, err := CurrentEpoch()
	if err != nil {
		return nil, err
	}
	pidfd := -1
	// No Pdeathsig: it follows the thread that forked, not this process,
	// and agents are meant to outlive their runner.
	attr := &syscall.ProcAttr{Dir: c.Dir, Env: c.Env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{PidFD: &pidfd}}
	if !c.Foreground {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		// What this process itself was started with (sockets of a service manager,
		// descriptors of a shell) is none of the agent's business.
		_ = unix.CloseRange(LockFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
		attr.Files, attr.Sys.Setsid = []uintptr{null.Fd(), c.Output.Fd(), c.Output.Fd(), c.Lock.Fd()}, true
	}
	pid, err := fork(program, c, attr)
	if err != nil {
		if pidfd >= 0 { // of a step that failed
			unix.Close(pidfd)
		}
		return nil, fmt.Errorf("start %s%s: %w", program, c.as(), err)
	}
	// Until it is reaped the child cannot vanish, dead or alive, so neither
	// of these can meet a stranger.
	stat, err := procfs.ReadStat(pid)
	if err == nil && pidfd < 0 {
		pidfd, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil {
		_ = unix.Kill(-pid, unix.SIGKILL)
		_ = unix.Kill(pid, unix.SIGKILL) // one in the foreground leads no group
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("watch %s: %w", program, err)
	}
	return newProcess(Identity{PID: pid, StartTime: stat.StartTime, Epoch: epoch}, pidfd)
}

// fork starts the program itself, or by way of a step.
func fork(program string, c Command, attr *syscall.ProcAttr) (int, error) {
	if c.Cgroup != "" {
		group, err := os.Open(c.Cgroup)
		if err != nil {
			return 0, err
		}
		defer group.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.Fd())
	}
	if c.none() {
		return syscall.ForkExec(program, c.Argv, attr)
	}
	if c.userAlone() && unix.Geteuid() == 0 {
		attr.Sys.Credential = c.User.asRoot()
		if pid, err := syscall.ForkExec(program, c.Argv, attr); err == nil {
			return pid, nil
		}
		attr.Sys.Credential = nil // the step finds out what it was that failed
	}
	return forkStep(program, c, attr)
}

// Adopt finds a process that an earlier runner started. ErrGone says that it
// no longer runs, and its pid may be another's by now.
func Adopt(id Identity) (*Process, error) {
	epoch, err := CurrentEpoch()
	if err != nil {
		return nil, err
	}
	if how := id.Epoch.Ended(epoch); how != "" || id.Epoch == "" {
		return nil, fmt.Errorf("%w: %s since", ErrGone, cmp.Or(how, "boot unknown"))
	}
	pidfd, err := unix.PidfdOpen(id.PID, 0)
	if gone(err) {
		return nil, fmt.Errorf("%w: no process %d", ErrGone, id.PID)
	}
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	// The descriptor pins the process; only now can its start time be
	// compared without a race.
	stat, err := procfs.ReadStat(id.PID)
	if err == nil && stat.StartTime == id.StartTime {
		return newProcess(id, pidfd)
	}
	unix.Close(pidfd)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: process %d is another one", ErrGone, id.PID)
	}
	return nil, err
}

// Given is a program that another process has started and reaps, with the
// descriptor that names it.
func Given(id Identity, pidfd int, reaped func() (Status, bool)) (*Process, error) {
	p, err := newProcess(id, pidfd)
	if err == nil {
		p.reaped = reaped
	}
	return p, err
}

// ReapedBy says that another process reaps the program: reaped returns its status
// once it has ended, or false when the other does not know.
func (p *Process) ReapedBy(reaped func() (Status, bool)) { p.reaped = reaped }

func newProcess(id Identity, pidfd int) (*Process, error) {
	// Non-blocking descriptors are watched by the runtime's one poller
	// instead of a thread each.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return nil, fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	return &Process{id: id, pidfd: os.NewFile(uintptr(pidfd), fmt.Sprintf("pidfd:%d", id.PID))}, nil
}

// CurrentEpoch is the one in which this process lives.
func CurrentEpoch() (Epoch, error) {
	bootID, err := procfs.BootID()
	if err != nil {
		return "", err
	}
	space, err := procfs.PIDNamespace()
	if err != nil {
		return "", err
	}
	e := bootID + " " + space
	if init, err := procfs.ReadStat(1); err == nil {
		e += fmt.Sprintf(" %d", init.StartTime)
	}
	return Epoch(e), nil
}

// Identity tells this process from every other on this host.
func (p *Process) Identity() Identity { return p.id }

// Wait blocks until the program has ended, without using a thread, or until
// ctx is done. It may be called once at a time.
func (p *Process) Wait(ctx context.Context) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	_ = p.pidfd.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(func(fd uintptr) bool { return readable(int(fd)) })
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}

// Signal sends a signal to the whole process group, also when the program
// itself has ended. A stopped process is continued, because it would not see
// the signal before.
func (p *Process) Signal(sig syscall.Signal) error {
	err := p.signal(sig)
	if sig != unix.SIGKILL {
		err = errors.Join(err, p.signal(unix.SIGCONT))
	}
	return err
}

// signal sends sig to the process group; a group that is gone is no error.
func (p *Process) signal(sig unix.Signal) error {
	err := p.signalGroup(sig)
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("send %s to process group %d: %w", unix.SignalName(sig), p.id.PID, err)
}

func (p *Process) signalGroup(sig unix.Signal) error {
	// The descriptor names the group beyond doubt, even if the number has
	// been given to somebody else since (Linux 6.9).
	err := p.withFD(func(fd int) error {
		return unix.PidfdSendSignal(fd, sig, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return unix.Kill(-p.id.PID, sig)
	}
	return err
}

// Active reports whether the program can act: a thread of it lives, and it has
// not been stopped (SIGSTOP, a debugger).
func (p *Process) Active() bool {
	stat, err := procfs.ReadStat(p.id.PID)
	return err == nil && stat.StartTime == p.id.StartTime && stat.Alive() && !stat.Paused()
}

// Reap collects the status of the program, which must have ended (see Wait).
// What it started may live on.
func (p *Process) Reap() Status {
	p.once.Do(func() {
		_ = p.withFD(func(fd int) error {
			p.status = p.findStatus(fd)
			return nil
		})
	})
	return p.status
}

// findStatus finds out how the program ended. Where another process reaps it, that
// one is waited for only if nothing is known yet.
func (p *Process) findStatus(pidfd int) Status {
	if p.reaped == nil {
		return exitStatus(pidfd, p.id)
	}
	if status, _ := peekStatus(pidfd, p.id); status.Known {
		return status
	}
	if status, ok := p.reaped(); ok {
		return status
	}
	return exitStatus(pidfd, p.id)
}

// Descriptor calls f with the pidfd, which is closed no earlier than f returns.
func (p *Process) Descriptor(f func(pidfd int) error) error { return p.withFD(f) }

// Close releases the watch; it does nothing to the process.
func (p *Process) Close() error { return p.pidfd.Close() }

// withFD keeps the descriptor open while f uses it.
func (p *Process) withFD(f func(fd int) error) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// Lookup finds the program as execvp would with the agent's own PATH and
// directory, because the runner's may differ.
func Lookup(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	var pathList string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			pathList = v
		}
	}
	for _, d := range filepath.SplitList(pathList) {
		if d == "" {
			d = dir
		}
		if file := filepath.Join(d, name); filepath.IsAbs(file) && executable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("program %q: %w in the agent's PATH %q", name, ErrNotFound, pathList)
}

func executable(file string) error {
	info, err := os.Stat(file)
	var stat *fs.PathError
	switch {
	case errors.As(err, &stat):
		return fmt.Errorf("program %s: %w", file, stat.Err)
	case err != nil:
		return fmt.Errorf("program %s: %w", file, err)
	}
	if info.IsDir() {
		return fmt.Errorf("program %s: is a directory", file)
	}
	if info.Mode()&0o111 == 0 {
		return fmt.Errorf("program %s: not executable (mode %s)", file, info.Mode())
	}
	return nil
}
