package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a process and what it was started with.
type Process struct {
	Stat
	// Vars are the variables of its environment that were asked for, by name.
	// It is nil when it has none of them, or its environment may not be read.
	Vars map[string]string
	// Holds is the file that it has open under the number that was asked for.
	Holds FileID
}

// Look says what a walk through all processes reads of each beyond its state.
type Look struct {
	// Vars are variables of the environment that it was started with. None is
	// read of a process that does not have the first.
	Vars []string
	// FD is the number of a descriptor; 0 means none.
	FD int
}

// Scan returns every live process of this pid namespace. It leaves out what has
// no session here (threads of the kernel, and what was brought in from outside),
// unless this process has none itself. Of processes that come and go during the
// walk it may have some.
func Scan(look Look) []Process {
	var found []Process
	r := newReader()
	own, _ := unix.Getsid(0) // 0 when a process outside of the namespace began it
	for _, pid := range numbers("/proc") {
		if sid, err := unix.Getsid(pid); err != nil || sid == 0 && own != 0 {
			continue
		}
		s, err := ParseStat(r.read(path(pid, "stat")))
		if err == nil && s.State == StateZombie {
			s, err = ReadStat(pid)
		}
		if err != nil || !s.Alive() {
			continue
		}
		p := Process{Stat: s}
		p.look(look, r)
		found = append(found, p)
	}
	return found
}

func (p *Process) look(look Look, r *reader) {
	if len(look.Vars) > 0 {
		p.Vars = pick(p.environ(r), look.Vars)
	}
	if look.FD > 0 {
		if id, err := Identify(p.Descriptor(look.FD)); err == nil {
			p.Holds = id
		}
	}
}

// execBound bounds the wait for a process that is on its way into a program: its
// host may read that from a slow disk.
const execBound = time.Second

// environ reads the environment that the process was started with. A process on
// its way into a program has none for a moment.
func (p *Process) environ(r *reader) []byte {
	for since := time.Now(); ; time.Sleep(50 * time.Microsecond) {
		env := r.read(p.path("environ"))
		if len(env) > 0 || time.Since(since) > execBound || !mayHaveEnviron(r.read(p.path("stat"))) {
			return env
		}
	}
}

// mayHaveEnviron reports whether a process whose environment was empty may have
// one now or soon, by its stat. It has none if it has no memory, or if its program
// was started with none.
func mayHaveEnviron(stat []byte) bool {
	const vsize, startCode, envStart, envEnd = 23, 26, 50, 51 // numbered as in proc(5)
	p, _, err := statFields(stat, envEnd)
	if err != nil || p.uint(vsize) == 0 {
		return false
	}
	onItsWay := p.uint(startCode) == 0 // the kernel sets it last
	return onItsWay || p.uint(envStart) != p.uint(envEnd)
}

// pick returns the named variables of an environment as the kernel has it.
func pick(env []byte, names []string) map[string]string {
	first := []byte(names[0] + "=")
	if !bytes.HasPrefix(env, first) && !bytes.Contains(env, append([]byte{0}, first...)) {
		return nil
	}
	vars := map[string]string{}
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		name, value, ok := strings.Cut(string(kv), "=")
		if _, again := vars[name]; ok && !again && slices.Contains(names, name) {
			vars[name] = value
		}
	}
	return vars
}

// reader reads small files of /proc into one buffer. Package os would add a
// stat, a poller's registration and garbage to each.
type reader struct{ buf []byte }

func newReader() *reader { return &reader{buf: make([]byte, 16<<10)} }

// readFile returns the contents of a small file.
func readFile(file string) ([]byte, error) {
	r := reader{buf: make([]byte, 1<<10)}
	return r.file(file)
}

// read returns the contents until the next call, or nothing.
func (r *reader) read(file string) []byte {
	b, _ := r.file(file)
	return b
}

// file returns the contents until the next call.
func (r *reader) file(file string) ([]byte, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	for n := 0; ; {
		if n == len(r.buf) {
			r.buf = slices.Grow(r.buf, len(r.buf))[:2*len(r.buf)]
		}
		got, err := unix.Read(fd, r.buf[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: file, Err: err}
		case got == 0:
			return r.buf[:n], nil
		}
		n += max(got, 0)
	}
}

// Holders returns the live processes that hold one of the files open, except
// this process itself. Descriptors that close on exec do not count: a child on
// its way into another program has copies of all its parent's, for a moment.
// Processes of other users, whose descriptors may not be read, are left out.
func Holders(files ...string) ([]Stat, error) {
	wanted := make([]FileID, 0, len(files))
	for _, f := range files {
		switch id, err := Identify(f); {
		case err == nil:
			wanted = append(wanted, id)
		case !errors.Is(err, fs.ErrNotExist): // nobody can hold what never was
			return nil, fmt.Errorf("look at %s: %w", f, err)
		}
	}
	var found []Stat
	for _, p := range Scan(Look{}) {
		if p.PID != os.Getpid() && holdsAny(p.Stat, wanted) {
			found = append(found, p.Stat)
		}
	}
	return found, nil
}

// FileID tells files of this host apart while they exist; the zero value is
// none's.
type FileID struct{ dev, ino uint64 }

// Identify returns the identity of a file.
func Identify(file string) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return FileID{}, err
	}
	return FileID{uint64(st.Dev), st.Ino}, nil
}

func holdsAny(s Stat, wanted []FileID) bool {
	dir := s.path("fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if id, err := Identify(dir + "/" + e.Name()); err == nil && slices.Contains(wanted, id) && !s.closesOnExec(e.Name()) {
			return true
		}
	}
	return false
}

// Kept reports whether the descriptor stays open when the process runs another
// program. A child on its way into its program has copies of all its parent's,
// for a moment.
func (s Stat) Kept(fd int) bool { return !s.closesOnExec(strconv.Itoa(fd)) }

func (s Stat) closesOnExec(fd string) bool {
	b, err := readFile(s.path("fdinfo/" + fd))
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

// Descriptor is the path at which the file that a process has open under a
// number can be opened or looked at, also after it was removed.
func (s Stat) Descriptor(fd int) string { return s.path("fd/" + strconv.Itoa(fd)) }

// Root is the path of a file as the process sees it.
func (s Stat) Root(file string) string { return s.path("root" + file) }

// path is that of a file below /proc about the process, of a thread that
// lives: the kernel takes memory and descriptors from one that has ended.
func (s Stat) path(file string) string {
	if s.Thread != 0 {
		return path(s.PID, taskFile(s.Thread, file))
	}
	return path(s.PID, file)
}

// livePath is that of a file below /proc about a process, of a thread that lives.
func livePath(pid int, file string) string {
	if s, err := ReadStat(pid); err == nil {
		return s.path(file)
	}
	return path(pid, file)
}

// Descriptor is the path of the file that a process has open under a number, see
// [Stat.Descriptor].
func Descriptor(pid, fd int) string { return livePath(pid, "fd/"+strconv.Itoa(fd)) }

// numbers returns the entries of a directory that are numbers.
func numbers(dir string) []int {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	var out []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			out = append(out, n)
		}
	}
	return out
}
