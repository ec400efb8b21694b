package foreground

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// relayed are the signals that are sent on. What else a terminal sends goes to the
// whole process group and needs nothing done here.
var relayed = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// catch begins to receive the relayed signals. One that the caller has this process
// ignore, as nohup does, stays ignored, also by the program.
func catch() chan os.Signal {
	signals := make(chan os.Signal, 16)
	for _, s := range relayed {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals
}

// relay sends signals on until the program has ended. They stay caught: this process
// has yet to say how the program ended, and does so within a bounded time.
func (c *Command) relay(signals <-chan os.Signal, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if s := s.(syscall.Signal); !c.witness.saw(s) {
				c.signal(s)
			}
		case <-ended:
			return
		}
	}
}

// signal sends a signal to the program alone.
func (c *Command) signal(s syscall.Signal) {
	id := c.program.Identity()
	_ = process.Signal(procfs.Stat{PID: id.PID, StartTime: id.StartTime}, s) // one that is gone has no use for it
}

// reap reaps what others left to this process, until the program has ended.
func (c *Command) reap(ended <-chan struct{}) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	for {
		select {
		case <-children:
			c.checks.Lock()
			process.ReapZombies(func(pid int) bool { return pid == c.PID() || c.witness.is(pid) })
			c.checks.Unlock()
		case <-ended:
			return
		}
	}
}
