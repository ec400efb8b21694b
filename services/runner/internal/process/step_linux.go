package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The step is this very binary, run between fork and the program by a start that
// has attributes: it takes them on, one after the other, and becomes the program.
// Go cannot run code of its own between fork and exec, and limits that are set
// from outside once the program runs would come too late.
//
// It runs with the rights of its parent, so it sees nothing of the program's
// environment but the marks: a variable such as LD_PRELOAD, from a file that the
// program's user may write, would have it run what that user wants. The environment
// comes in a file of memory.
//
// It is an init function, so that every binary that links the runner is able to,
// tests too, and none can forget it.

const (
	// stepName is the name under which the binary is a step.
	stepName = "mistersmith-start"
	// stepFD is where a step reports why it failed. It closes with success.
	stepFD = LockFD + 1
	// environFD is where a step finds the program's environment, and variables with
	// markPrefix are what it sees of it: what a runner sets itself.
	environFD  = stepFD + 1
	markPrefix = "SMITH_"
)

// step is what a step is to do.
type step struct {
	Attributes
	Program string `json:"program"`
	Dir     string `json:"dir"`
}

// stepError is how a step failed.
type stepError struct {
	Attribute string        `json:"attribute"`
	Errno     syscall.Errno `json:"errno"`
}

func init() {
	if len(os.Args) < 3 || os.Args[0] != stepName {
		return
	}
	unix.CloseOnExec(stepFD)
	unix.CloseOnExec(environFD)
	var s step
	failed := stepError{"start", unix.EINVAL}
	err := json.Unmarshal([]byte(os.Args[1]), &s)
	if err == nil {
		var env []byte
		if env, err = os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", environFD)); err == nil {
			failed = s.become(os.Args[2:], splitEnviron(env))
		}
	}
	_ = json.NewEncoder(os.NewFile(stepFD, "step")).Encode(failed)
	os.Exit(127)
}

// become returns only when it fails. The order matters: what needs root's rights
// comes before they are gone, the limit of processes last of that, after which the
// step can have no more threads, and the directory is entered as the user.
func (s step) become(argv, env []string) stepError {
	if f, ok := s.limit(func(r Resource) bool { return r != Processes }); !ok {
		return f
	}
	if s.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *s.Nice); err != nil {
			return failure("nice", err)
		}
	}
	if s.Umask != nil {
		unix.Umask(*s.Umask)
	}
	if f, ok := s.limit(func(r Resource) bool { return r == Processes }); !ok {
		return f
	}
	if s.User != nil {
		if err := s.User.assume(); err != nil {
			return failure("user", err)
		}
	}
	if err := os.Chdir(s.Dir); err != nil {
		return failure("dir", err)
	}
	return failure("exec", syscall.Exec(s.Program, argv, env))
}

// limit sets the limits of some resources.
func (s step) limit(some func(Resource) bool) (failed stepError, ok bool) {
	for _, l := range s.Limits {
		if !some(l.Resource) {
			continue
		}
		if err := l.set(); err != nil {
			return failure(string(l.Resource), err), false
		}
	}
	return stepError{}, true
}

func failure(attribute string, err error) stepError {
	f := stepError{attribute, unix.EINVAL}
	errors.As(err, &f.Errno)
	return f
}

var resourceNumbers = map[Resource]int{OpenFiles: unix.RLIMIT_NOFILE, Processes: unix.RLIMIT_NPROC, Core: unix.RLIMIT_CORE}

// set limits this process. It is not x/sys's, after which the Go runtime would
// give the program the limit back that this process began with.
func (l Limit) set() error {
	return syscall.Setrlimit(resourceNumbers[l.Resource], &syscall.Rlimit{Cur: l.Value, Max: l.Value})
}

// assume makes this thread the user's, with none of the groups and rights that it
// had. A process that is the user's already keeps its groups, which only root could
// set.
//
// Not the other threads of the step, as package syscall would: they would count
// against the user's limit of processes, and end with exec anyway. The program has
// what the thread has that calls exec: the main one, to which init functions are
// bound.
func (c Credentials) assume() error {
	if unix.Geteuid() != 0 && unix.Geteuid() == c.UID && unix.Getegid() == c.GID {
		return nil
	}
	if err := unix.Setgroups(c.Groups); err != nil {
		return err
	}
	if err := setID(unix.SYS_SETRESGID, syscall.Setresgid, c.GID); err != nil {
		return err
	}
	if err := setID(unix.SYS_SETRESUID, syscall.Setresuid, c.UID); err != nil {
		return err
	}
	// Rights that a service manager lets its services inherit.
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

// setID makes a call for this thread, or for all of them on machines of 32 bits,
// where the call of that number knows small ids only.
func setID(call uintptr, all func(real, effective, saved int) error, id int) error {
	if bits.UintSize == 32 {
		return all(id, id, id)
	}
	if _, _, errno := unix.RawSyscall(call, uintptr(id), uintptr(id), uintptr(id)); errno != 0 {
		return errno
	}
	return nil
}

// asRoot is what a fork by root needs to do the same.
func (c Credentials) asRoot() *syscall.Credential {
	out := &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
	for _, g := range c.Groups {
		out.Groups = append(out.Groups, uint32(g))
	}
	return out
}

// forkStep starts a program by way of a step, and returns once it is the program.
func forkStep(program string, c Command, attr *syscall.ProcAttr) (pid int, err error) {
	spec, err := json.Marshal(step{c.Attributes, program, c.Dir})
	if err != nil {
		return 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	env, err := Memory("environment", joinEnviron(attr.Env))
	if err != nil {
		w.Close()
		return 0, err
	}
	defer env.Close()
	attr.Files = append(attr.Files, w.Fd(), env.Fd())
	attr.Dir, attr.Env = "", marks(attr.Env)
	pid, err = syscall.ForkExec("/proc/self/exe", slices.Concat([]string{stepName, string(spec)}, c.Argv), attr)
	w.Close()
	if err != nil {
		return 0, err
	}
	var failed stepError
	if err := json.NewDecoder(r).Decode(&failed); err != nil {
		if errors.Is(err, io.EOF) {
			return pid, nil // it is the program now, or was ended by a signal
		}
		failed = stepError{"start", unix.EIO}
	}
	_, _ = unix.Wait4(pid, nil, 0, nil)
	return 0, failed.explain(c)
}

// marks are the variables that a step may see.
func marks(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return !strings.HasPrefix(kv, markPrefix) })
}

func joinEnviron(env []string) []byte { return []byte(strings.Join(env, "\x00")) }

func splitEnviron(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(string(text), "\x00")
}

// Memory returns an anonymous file with some content, to be given to another process.
func Memory(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// explain says what a step could not do, and what to do about it.
func (f stepError) explain(c Command) error {
	switch f.Attribute {
	case "exec":
		for _, l := range c.Limits {
			if f.Errno == unix.EAGAIN && l.Resource == Processes {
				return fmt.Errorf("limits.processes %d: %w: the user has as many on this host already; raise it, or give the agent its own user", l.Value, f.Errno)
			}
		}
		return f.Errno
	case "dir":
		return fmt.Errorf("enter dir %s: %w", c.Dir, f.Errno)
	case "user":
		if f.Errno == unix.EPERM {
			return fmt.Errorf("user %d, group %d: %w: this runner is user %d, and only root may start programs as another; run the runner as root, or remove user and group",
				c.User.UID, c.User.GID, f.Errno, unix.Geteuid())
		}
		return fmt.Errorf("user %d, group %d: %w", c.User.UID, c.User.GID, f.Errno)
	case "nice":
		return fmt.Errorf("nice %d: %w: only root may give a program more than its runner's share; raise nice, or run the runner as root", *c.Nice, f.Errno)
	}
	for _, l := range c.Limits {
		if string(l.Resource) == f.Attribute {
			return fmt.Errorf("limits.%s %d: %w: the runner's own hard limit is lower, and only root may exceed it; lower it here, or raise the runner's", l.Resource, l.Value, f.Errno)
		}
	}
	return fmt.Errorf("%s: %w", f.Attribute, f.Errno)
}

// as says as which user a program is to be started, where it is another one.
func (c Command) as() string {
	if c.User == nil {
		return ""
	}
	return fmt.Sprintf(" as user %d", c.User.UID)
}
