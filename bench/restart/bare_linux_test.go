package restart

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// bareLoop is the floor: it starts processes and starts those that end again, by
// pidfds in one epoll, and does nothing else. It never returns.
func bareLoop(fifo, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	names, procs := map[int32]string{}, map[int32]*os.Process{}
	start := func(name string) error {
		fd := -1
		p, err := os.StartProcess("/bin/sh", command(name, fifo), &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, nil, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &fd}})
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		names[int32(fd)], procs[int32(fd)] = name, p
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	for i := range n {
		if err := start(agent(i)); err != nil {
			return err
		}
	}
	for events := make([]unix.EpollEvent, 128); ; {
		ready, err := unix.EpollWait(poll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:ready] {
			name, p := names[e.Fd], procs[e.Fd]
			delete(names, e.Fd)
			delete(procs, e.Fd)
			if _, err := p.Wait(); err != nil {
				return fmt.Errorf("wait for %s: %w", name, err)
			}
			if err := unix.Close(int(e.Fd)); err != nil {
				return err
			}
			if err := start(name); err != nil {
				return err
			}
		}
	}
}
