package reaper

import (
	"errors"
	"syscall"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// ErrLost tells that the reaper ended before it answered.
var ErrLost = errors.New("reaper lost")

// Status is the exit as a runner sees it.
func (e Exit) Status() process.Status {
	s := process.WaitStatus(syscall.WaitStatus(e.Wait))
	s.At, s.Lived, s.Used = e.At, e.Lived.D(), e.Used
	return s
}
