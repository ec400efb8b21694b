package procfs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process and its descendants use. What a parent that has ended left
// to another process does not count.
type Usage struct {
	Processes int
	// Resident is the memory that is not swapped out, in bytes; what is shared counts
	// for each.
	Resident int64
	// CPU is the processor time of those that live and of those that they waited for.
	CPU time.Duration
}

// UsageOf returns what process pid and its descendants use.
func UsageOf(pid int) (Usage, error) {
	var u Usage
	r := newReader()
	for pids := []int{pid}; len(pids) > 0; pids = pids[1:] {
		p, _, err := statFields(r.read(path(pids[0], "stat")), 24)
		if err != nil || p.fields[0][0] == StateDead {
			continue
		}
		const utime, stime, cutime, cstime, rss = 14, 15, 16, 17, 24 // numbered as in proc(5)
		u.Processes++
		u.CPU += FromTicks(p.uint(utime) + p.uint(stime) + p.uint(cutime) + p.uint(cstime))
		if p.fields[0][0] == StateZombie { // its memory is that of a thread that lives
			if p, _, err = statFields(r.read(livePath(pids[0], "stat")), rss); err != nil {
				continue
			}
		}
		u.Resident += int64(p.int(rss)) * int64(os.Getpagesize())
		if below, err := children(r, pids[0]); err == nil {
			pids = append(pids, below...)
		}
	}
	if u.Processes == 0 {
		return u, fmt.Errorf("usage of process %d: %w", pid, os.ErrNotExist)
	}
	return u, nil
}

// PeakMemory returns the most memory that process pid has had at once since it was
// executed, in bytes.
func PeakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(livePath(pid, "status"))
	if err != nil {
		return 0, vanished(pid, err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("peak memory of process %d: the kernel does not tell it", pid)
}

// Environ returns the environment that a process was started with, as KEY=VALUE.
func Environ(pid int) ([]string, error) {
	s, err := ReadStat(pid)
	if err != nil {
		return nil, err
	}
	p := Process{Stat: s}
	env := strings.Split(strings.TrimRight(string(p.environ(newReader())), "\x00"), "\x00")
	return slices.DeleteFunc(env, func(kv string) bool { return kv == "" }), nil
}

// WorkDir returns the directory that a process is in.
func WorkDir(pid int) (string, error) { return os.Readlink(livePath(pid, "cwd")) }

// Credentials returns the effective user and group of a process, and its further
// groups.
func Credentials(pid int) (uid, gid uint32, groups []uint32, err error) {
	b, err := readFile(path(pid, "status"))
	if err != nil {
		return 0, 0, nil, vanished(pid, err)
	}
	number := func(text string) uint32 {
		n, bad := strconv.ParseUint(text, 10, 32)
		if bad != nil && err == nil {
			err = fmt.Errorf("credentials of process %d: %w", pid, bad)
		}
		return uint32(n)
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case name == "Uid" && len(fields) > 1:
			uid = number(fields[1])
		case name == "Gid" && len(fields) > 1:
			gid = number(fields[1])
		case name == "Groups":
			for _, g := range fields {
				groups = append(groups, number(g))
			}
		}
	}
	return uid, gid, groups, err
}
