//go:build !linux

package reaper

import (
	"errors"
	"log/slog"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

var errLinux = errors.New("reapers need Linux")

// Reaper is a runner's way to its reaper. There is none where there is no Linux.
type Reaper struct{}

// Open fails.
func Open(string, *slog.Logger) (*Reaper, error) { return nil, errLinux }

// The methods of Reaper find nothing.

func (*Reaper) Close()                                                  {}
func (*Reaper) Start(string, process.Command) (*process.Process, error) { return nil, errLinux }
func (*Reaper) Find(string) (id process.Identity, exit *Exit, ok bool)  { return id, nil, false }
func (*Reaper) Attach(string, *process.Process)                         {}
func (*Reaper) Await(string) (Exit, bool)                               { return Exit{}, false }
func (*Reaper) Used(string) *contracts.Resources                        { return nil }
func (*Reaper) Output(string) string                                    { return "" }
func (*Reaper) Taken(string)                                            {}
func (*Reaper) InShutdown(Exit) bool                                    { return false }
func (*Reaper) Ended() []string                                         { return nil }
func (*Reaper) HasParent(string) bool                                   { return false }
func (*Reaper) Roots() []int                                            { return nil }
func (*Reaper) PID() (pid int, ok bool)                                 { return 0, false }
