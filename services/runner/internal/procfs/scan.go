package procfs

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Processes yields the state of every process this one can see. Processes that
// vanish during the walk are left out.
func Processes() iter.Seq[Stat] {
	return func(yield func(Stat) bool) {
		for _, pid := range pids() {
			if s, err := ReadStat(pid); err == nil && !yield(s) {
				return
			}
		}
	}
}

// InSession returns the processes of a session or process group (both have the
// number of the process that began them), zombies included.
func InSession(id int) []Stat {
	var found []Stat
	for s := range Processes() {
		if s.Session == id || s.Group == id {
			found = append(found, s)
		}
	}
	return found
}

// Holders returns the live processes that hold one of the files open, except
// this process itself. Descriptors that close on exec do not count: a child on
// its way into another program has copies of all its parent's, for a moment.
// Processes of other users, whose descriptors may not be read, are left out.
func Holders(files ...string) ([]Stat, error) {
	wanted := make([]fileID, 0, len(files))
	for _, f := range files {
		var st unix.Stat_t
		switch err := unix.Stat(f, &st); err {
		case nil:
			wanted = append(wanted, fileID{uint64(st.Dev), st.Ino})
		case unix.ENOENT: // nobody can hold what never was
		default:
			return nil, fmt.Errorf("look at %s: %w", f, err)
		}
	}
	var found []Stat
	for s := range Processes() {
		if s.PID != os.Getpid() && s.Alive() && holdsAny(s.PID, wanted) {
			found = append(found, s)
		}
	}
	return found, nil
}

// WithEnv returns the live processes whose start environment holds one of the
// entries KEY=VALUE.
func WithEnv(entries ...string) []Stat {
	var found []Stat
	holds := func(kv string) bool { return slices.Contains(entries, kv) }
	for s := range Processes() {
		if env, err := Env(s.PID); err == nil && s.Alive() && slices.ContainsFunc(env, holds) {
			found = append(found, s)
		}
	}
	return found
}

type fileID struct{ dev, ino uint64 }

func holdsAny(pid int, wanted []fileID) bool {
	dir := path(pid, "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(dir+"/"+e.Name(), &st) == nil && slices.Contains(wanted, fileID{uint64(st.Dev), st.Ino}) &&
			!closesOnExec(pid, e.Name()) {
			return true
		}
	}
	return false
}

func closesOnExec(pid int, fd string) bool {
	b, err := os.ReadFile(path(pid, "fdinfo/"+fd))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), "flags:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return false
	}
	flags, err := strconv.ParseInt(fields[0], 8, 64)
	return err == nil && flags&unix.O_CLOEXEC != 0
}

func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
