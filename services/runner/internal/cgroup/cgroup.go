// Package cgroup bounds what agents use by control groups, version 2. A runner owns
// one sub-tree below the group that it runs in, with a group for each start that has
// such limits. The sub-tree is made when the first of them is started.
//
// Where a host has no controllers, or the runner may not use them, it says so: what
// cannot be bounded is not started.
package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Limits of a group; 0 is none.
type Limits struct {
	Memory    int64   // bytes; the agent uses no swap then
	CPU       float64 // cores
	Processes int     // and threads
}

// controller is what holds a group to a limit, by the name that users have for that.
type controller struct{ name, limit string }

// controllers returns what the limits need.
func (l Limits) controllers() (needed []controller) {
	for _, c := range []struct {
		controller
		asked bool
	}{
		{controller{"memory", "memory"}, l.Memory > 0},
		{controller{"cpu", "cpu"}, l.CPU > 0},
		{controller{"pids", "processes"}, l.Processes > 0},
	} {
		if c.asked {
			needed = append(needed, c.controller)
		}
	}
	return needed
}

// ErrRefused tells that this host, or this runner on it, cannot hold an agent to a
// limit.
var ErrRefused = errors.New("this host cannot hold an agent to it")

// Tree is the sub-tree of a runner. Its methods may be used from several goroutines.
type Tree struct {
	// base is the group that the runner was started in, "" where there is none.
	base, runner string
	// contained: base is the root as this process sees it.
	contained bool

	mu sync.Mutex
}

// Of returns the sub-tree of a runner of that name. It makes nothing yet.
func Of(runner string) *Tree {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	groups, _ := os.ReadFile("/proc/self/cgroup")
	t := &Tree{runner: runner}
	t.base, t.contained = own(string(mounts), string(groups))
	// A runner that moved, or was put by its service manager, into a group below.
	if name := filepath.Base(t.base); !t.contained && (name == t.aside() || name == "runner") {
		t.base = filepath.Dir(t.base)
	}
	return t
}

// At returns the sub-tree of a runner below a group that is its own.
func At(base, runner string) *Tree { return &Tree{base: base, runner: runner} }

// own finds the group of this process in what the kernel says of mounts and of it.
func own(mounts, groups string) (dir string, contained bool) {
	path := ""
	for line := range strings.Lines(groups) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = rest
		}
	}
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if path == "" || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if below, ok := strings.CutPrefix(path, strings.TrimSuffix(fields[3], "/")); ok {
			return filepath.Join(fields[4], below), below == "/" || below == ""
		}
	}
	return "", false
}

// dir is the sub-tree, aside the group that the runner moves to where its own must
// have no processes.
func (t *Tree) dir() string   { return filepath.Join(t.base, "smith-"+t.runner) }
func (t *Tree) aside() string { return "smith-runner-" + t.runner }

// Has reports whether groups here can have limits of that kind.
func (t *Tree) Has(l Limits) bool {
	_, missing := t.missing(l)
	return t.base != "" && len(missing) == 0
}

// missing returns the controllers that the limits need, and those of them that are
// not there.
func (t *Tree) missing(l Limits) (needed, missing []controller) {
	text, _ := os.ReadFile(filepath.Join(t.base, "cgroup.controllers"))
	there := strings.Fields(string(text))
	needed = l.controllers()
	return needed, slices.DeleteFunc(slices.Clone(needed), func(c controller) bool { return slices.Contains(there, c.name) })
}

// Group makes the group of a start and returns its directory.
func (t *Tree) Group(agent string, incarnation uint64, l Limits) (dir string, err error) {
	needed, missing := t.missing(l)
	switch {
	case t.base == "":
		return "", fmt.Errorf("limits.%s: %w: no cgroup v2 is mounted, and so no %s limit can be set; mount it, or remove the limit", needed[0].limit, ErrRefused, needed[0].limit)
	case len(missing) > 0:
		text, _ := os.ReadFile(filepath.Join(t.base, "cgroup.controllers"))
		return "", fmt.Errorf("limits.%s: %w: no %s limit can be set, since cgroup %s has no %s controller (it has: %s); boot the host with cgroup v2 alone, have the controller delegated to the runner, or remove the limit",
			missing[0].limit, ErrRefused, missing[0].limit, t.base, missing[0].name, cmp.Or(strings.Join(strings.Fields(string(text)), ", "), "none"))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make([]string, len(needed))
	for i, c := range needed {
		names[i] = c.name
	}
	if err := t.enable(names); err != nil {
		// Without the errno: a file system that is read-only here is no full disk.
		return "", fmt.Errorf("limits.%s: %w: cgroup %s: %v; give the runner a group of its own (Delegate=yes and DelegateSubgroup=runner in its unit, a writable cgroup in its container), or remove the limit",
			needed[0].limit, ErrRefused, t.base, err)
	}
	dir = t.Dir(agent, incarnation)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cgroup of agent %s: %w", agent, err)
	}
	if err := l.write(dir); err != nil {
		Remove(dir)
		return "", fmt.Errorf("cgroup of agent %s: %w", agent, err)
	}
	return dir, nil
}

// Dir is where the group of a start is, if it has one.
func (t *Tree) Dir(agent string, incarnation uint64) string {
	return filepath.Join(t.dir(), agent+"."+strconv.FormatUint(incarnation, 10))
}

// enable makes the sub-tree and has groups in it use the controllers.
func (t *Tree) enable(controllers []string) error {
	want := "+" + strings.Join(controllers, " +")
	err := set(t.base, "cgroup.subtree_control", want)
	if errors.Is(err, syscall.EBUSY) && t.contained {
		// A group with controllers below has no processes of its own. On a host its
		// service manager has to see to that, which would not start it again.
		if err = t.clear(); err == nil {
			err = set(t.base, "cgroup.subtree_control", want)
		}
	}
	if err != nil {
		return err
	}
	if err := os.Mkdir(t.dir(), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return set(t.dir(), "cgroup.subtree_control", want)
}

// clear moves what is in the root of a container, this runner and what is beside
// it, to a group below.
func (t *Tree) clear() error {
	aside := filepath.Join(t.base, t.aside())
	if err := os.Mkdir(aside, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	text, err := os.ReadFile(filepath.Join(t.base, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(text)) {
		if err := set(aside, "cgroup.procs", pid); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// write sets the limits of a group. When memory is used up, all of it ends.
func (l Limits) write(dir string) error {
	var errs []error
	put := func(file, value string) { errs = append(errs, set(dir, file, value)) }
	if l.Memory > 0 {
		put("memory.max", strconv.FormatInt(l.Memory, 10))
		put("memory.oom.group", "1")
		if err := set(dir, "memory.swap.max", "0"); !errors.Is(err, fs.ErrNotExist) { // a kernel without swap
			errs = append(errs, err)
		}
	}
	if l.CPU > 0 {
		const period = 100_000 // microseconds, as kernels have it
		put("cpu.max", fmt.Sprintf("%d %d", max(1000, int(l.CPU*period)), period))
	}
	if l.Processes > 0 {
		put("pids.max", strconv.Itoa(l.Processes))
	}
	return errors.Join(errs...)
}

// set writes a file of a group. It makes none.
func set(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// OutOfMemory reports whether the kernel has ended something in a group because it
// reached its memory limit.
func OutOfMemory(dir string) bool {
	text, _ := os.ReadFile(filepath.Join(dir, "memory.events"))
	for line := range strings.Lines(string(text)) {
		name, count, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (name == "oom_kill" || name == "oom_group_kill") && count != "0" {
			return true
		}
	}
	return false
}

// Kill kills everything in a group, also what has made itself unknown to its
// runner. Without a group it does nothing.
func Kill(dir string) { _ = set(dir, "cgroup.kill", "1") }

// Remove kills what is left in a group and removes it. It reports whether the group
// is gone.
func Remove(dir string) bool {
	gone := func() bool {
		err := syscall.Rmdir(dir)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	}
	if gone() {
		return true
	}
	Kill(dir)
	for range 200 {
		if gone() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}
