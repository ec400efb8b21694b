package reaper

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cleanVar is in the environment of a reaper whose signals are clean.
const cleanVar = "MISTERSMITH_REAPER_CLEAN"

// cleanSignals makes this process one that blocks and ignores no signal, whatever it
// was started with: programs inherit both. It begins again as the same program where
// that is needed, since the runtime keeps what it found for each of its threads. It
// must be called in an init function, which the main thread runs.
func cleanSignals() error {
	if os.Getenv(cleanVar) != "" {
		return nil
	}
	ignored, err := ignoredSignals()
	if err != nil {
		return err
	}
	var blocked unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, new(unix.Sigset_t), &blocked); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	if len(ignored) == 0 && blocked == (unix.Sigset_t{}) {
		return nil
	}
	if len(ignored) > 0 { // what has a handler gets the default action with exec
		signal.Notify(make(chan os.Signal, 1), ignored...)
	}
	err = syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), cleanVar+"=yes"))
	return fmt.Errorf("begin again without blocked and ignored signals: %w", err)
}

// ignoredSignals returns the signals that this process ignores.
func ignoredSignals() (ignored []os.Signal, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(status)) {
		value, ok := strings.CutPrefix(line, "SigIgn:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("ignored signals: %w", err)
		}
		for n := range 64 {
			if set&(1<<n) != 0 {
				ignored = append(ignored, syscall.Signal(n+1))
			}
		}
	}
	return ignored, nil
}
