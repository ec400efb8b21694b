// Package procfs reads what Linux tells about processes: state, start time,
// group and session, environment, and who holds a file open.
//
// It only reads. A process that vanished meanwhile is reported as
// fs.ErrNotExist, never as an empty answer, and one that may not be inspected
// as fs.ErrPermission.
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// States of a process as /proc/PID/stat spells them.
const (
	StateStopped = 'T' // stopped by a signal (SIGSTOP)
	StateTraced  = 't' // stopped by a debugger
	StateZombie  = 'Z' // dead, not yet reaped by its parent
	StateDead    = 'X' // dead, about to vanish
)

// Stat is the part of /proc/PID/stat that supervision needs.
type Stat struct {
	PID int
	// Thread is a thread that lives although the main thread has ended, which
	// POSIX allows; 0 stands for the main thread. State is that thread's.
	Thread    int
	State     byte   // R, S, D, T, t, Z, X, I
	ParentPID int    // 0 for the init process
	Group     int    // process group id
	Session   int    // session id
	StartTime uint64 // clock ticks since boot; with the pid and the boot id it identifies a process
	ExitCode  int    // wait status of a zombie; 0 where the reader may not know
}

// Alive reports whether the process can still run code.
func (s Stat) Alive() bool { return s.State != StateZombie && s.State != StateDead }

// Paused reports whether the process is stopped by a signal or a debugger.
func (s Stat) Paused() bool { return s.State == StateStopped || s.State == StateTraced }

// ReadStat reads the state of process pid.
func ReadStat(pid int) (Stat, error) {
	b, err := readFile(path(pid, "stat"))
	if err != nil {
		return Stat{}, vanished(pid, err)
	}
	s, err := ParseStat(b)
	if err != nil {
		return Stat{}, fmt.Errorf("state of process %d: %w", pid, err)
	}
	if s.State == StateZombie {
		s.Thread, s.State = survivor(pid)
	}
	return s, nil
}

// survivor finds a thread that lives in a process whose main thread has ended,
// and its state; without one the process is a zombie.
func survivor(pid int) (thread int, state byte) {
	state = StateZombie
	for _, tid := range numbers(path(pid, "task")) {
		b, err := readFile(path(pid, taskFile(tid, "stat")))
		if err != nil || tid == pid {
			continue
		}
		s, err := ParseStat(b)
		switch {
		case err != nil || !s.Alive():
		case !s.Paused():
			return tid, s.State
		default:
			thread, state = tid, s.State
		}
	}
	return thread, state
}

func taskFile(tid int, file string) string { return "task/" + strconv.Itoa(tid) + "/" + file }

// ParseStat decodes the contents of /proc/PID/stat.
func ParseStat(b []byte) (Stat, error) {
	p, pid, err := statFields(b, 22)
	if err != nil {
		return Stat{}, err
	}
	s := Stat{
		PID:       pid,
		State:     p.fields[0][0],
		ParentPID: p.int(4),
		Group:     p.int(5),
		Session:   p.int(6),
		StartTime: p.uint(22),
	}
	if len(p.fields) > 52-stateField {
		s.ExitCode = p.int(52)
	}
	if p.err != nil {
		return Stat{}, p.err
	}
	return s, nil
}

const stateField = 3 // numbered as in proc(5)

// statFields splits the contents of /proc/PID/stat, which must reach to field
// last.
func statFields(b []byte, last int) (p fieldParser, pid int, err error) {
	// The command name stands in parentheses and may itself hold spaces and
	// parentheses, so the fields are counted from the last closing one.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return p, 0, errors.New("no command name in parentheses")
	}
	p.fields = strings.Fields(string(b[end+1:]))
	if len(p.fields) <= last-stateField || len(p.fields[0]) != 1 {
		return p, 0, fmt.Errorf("%d fields after the command name, want at least %d", len(p.fields), last-stateField+1)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(b[:open])))
	return p, pid, err
}

// fieldParser reads fields by their number in proc(5) and keeps the first error.
type fieldParser struct {
	fields []string // the first is field 3
	err    error
}

func (p *fieldParser) int(field int) int {
	v, err := strconv.Atoi(p.fields[field-stateField])
	p.fail(field, err)
	return v
}

func (p *fieldParser) uint(field int) uint64 {
	v, err := strconv.ParseUint(p.fields[field-stateField], 10, 64)
	p.fail(field, err)
	return v
}

func (p *fieldParser) fail(field int, err error) {
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("field %d: %w", field, err)
	}
}

// BootID identifies the running boot of this host's kernel.
func BootID() (string, error) {
	b, err := readFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id of this host: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// PIDNamespace identifies the space in which this process's pids count, such as
// a container's.
func PIDNamespace() (string, error) {
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", fmt.Errorf("pid namespace: %w", err)
	}
	return ns, nil
}

// Namespace identifies the pid namespace of process pid, as PIDNamespace does.
func Namespace(pid int) (string, error) {
	ns, err := os.Readlink(path(pid, "ns/pid"))
	if err != nil {
		return "", vanished(pid, err)
	}
	return ns, nil
}

func path(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }

// vanished turns the kernel's several ways to say "no such process" into one.
func vanished(pid int, err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	return fmt.Errorf("process %d: %w", pid, err)
}
