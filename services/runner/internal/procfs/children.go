package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
)

// errUnsteady tells that processes came and went too fast for a walk.
var errUnsteady = errors.New("processes change faster than they can be listed")

// ScanBelow is [Scan] for the live descendants of the root processes, without
// those children of roots, and what is below them, that skip is true for. Its time
// does not grow with the number of processes on the host. If the roots live and
// are sub-reapers, it misses no process that was there all the time: one whose
// parent ends meanwhile becomes a child of a root, and then the walk is repeated.
// An error says that a root is gone, that the kernel does not list children, or
// that there is no end to the changes.
func ScanBelow(look Look, roots []int, skip func(pid int) bool) ([]Process, error) {
	r := newReader()
	top := func() (pids []int, err error) {
		for _, root := range roots {
			below, err := children(r, root)
			if err != nil {
				return nil, err
			}
			pids = append(pids, below...)
		}
		return slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(roots, pid) }), nil
	}
	before, err := top()
	for tries := 0; err == nil; tries++ {
		found := below(look, r, slices.DeleteFunc(slices.Clone(before), skip))
		var after []int
		if after, err = top(); slices.Equal(before, after) {
			return found, err
		}
		if before = after; tries == 8 {
			return nil, errUnsteady
		}
	}
	return nil, err
}

// below reads processes and their descendants.
func below(look Look, r *reader, pids []int) []Process {
	var found []Process
	for i := 0; i < len(pids); i++ {
		s, err := ReadStat(pids[i])
		if err != nil || !s.Alive() {
			continue
		}
		p := Process{Stat: s}
		p.look(look, r)
		found = append(found, p)
		next, _ := children(r, s.PID) // it has ended, and what was below it is ours
		pids = append(pids, next...)
	}
	return found
}

// children returns the children of all threads of a process, zombies included,
// in order.
func children(r *reader, pid int) ([]int, error) {
	var out []int
	read := false
	for _, tid := range numbers(path(pid, "task")) {
		b, err := r.file(path(pid, taskFile(tid, "children")))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the thread has ended
		}
		if err != nil {
			return nil, vanished(pid, err)
		}
		read = true
		for field := range bytes.FieldsSeq(b) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				out = append(out, child)
			}
		}
	}
	if !read {
		return nil, fmt.Errorf("children of process %d: %w", pid, fs.ErrNotExist)
	}
	slices.Sort(out)
	return out, nil
}

// Orphans returns the zombies that are left to this process to reap, but were
// not started by it: those of another session. Children that skip is true for
// are not looked at.
func Orphans(skip func(pid int) bool) ([]Stat, error) {
	self, err := ReadStat(os.Getpid())
	if err != nil {
		return nil, err
	}
	zombies, err := Zombies(skip)
	return slices.DeleteFunc(zombies, func(s Stat) bool { return s.Session == self.Session }), err
}

// Zombies returns the children of this process that wait to be reaped, without
// those that skip is true for.
func Zombies(skip func(pid int) bool) ([]Stat, error) {
	self := os.Getpid()
	pids, err := children(newReader(), self)
	if err != nil {
		return nil, err
	}
	var found []Stat
	for _, pid := range slices.DeleteFunc(pids, skip) {
		if s, err := ReadStat(pid); err == nil && !s.Alive() && s.ParentPID == self {
			found = append(found, s)
		}
	}
	return found, nil
}
