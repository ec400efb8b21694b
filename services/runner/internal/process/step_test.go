package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user with rights of its own only, and one group besides its own.
var nobody = &Credentials{UID: 65534, GID: 65534, Groups: []int{65534, 12}}

// attributesMode makes the test binary start a program with the attributes in its
// argument, and print how that went.
const attributesMode = "PROCESS_TEST_ATTRIBUTES"

func startWithAttributes(dir, attributes string) {
	c := shell(dir, "exit 0")
	if err := json.Unmarshal([]byte(attributes), &c.Attributes); err != nil {
		panic(err)
	}
	p, err := Start(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Wait(context.Background()); err == nil && p.Reap().Code == 0 {
		fmt.Println("started")
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// public is a directory that every user may enter, unlike t.TempDir as root.
func public(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "process-step-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may start programs as another user")
	}
}

// run starts a script with attributes and returns what it printed and how it
// ended.
func run(t *testing.T, dir, script string, a Attributes) (string, Status, error) {
	t.Helper()
	c := shell(dir, script)
	c.Attributes = a
	defer c.Output.Close()
	defer c.Lock.Close()
	p, err := Start(c)
	if err != nil {
		return "", Status{}, err
	}
	cleanup(t, p, dir)
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return string(out), p.Reap(), nil
}

// TestAttributes: the program has what it is to have from its first instruction,
// and nothing else that it has not without attributes.
func TestAttributes(t *testing.T) {
	root(t)
	umask, nice := 0o027, 7
	const script = `ulimit -Hn; ulimit -Sn; ulimit -c; umask; nice; id -u; id -g; id -G; echo $0 $PWD; ls /proc/self/fd; ps -o sid= -p $$ | tr -d " " | grep -cx $$; grep -E "CapEff|SigIgn|SigBlk" /proc/self/status; exit 7`
	dir := public(t)
	out, status, err := run(t, dir, script, Attributes{
		User: nobody, Umask: &umask, Nice: &nice, Limits: []Limit{{OpenFiles, 64}, {Core, 1 << 20}},
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := run(t, public(t), `ls /proc/self/fd; grep -E "SigIgn|SigBlk" /proc/self/status`, Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	fds, signals, _ := strings.Cut(plain, "SigBlk")
	want := "64\n64\n2048\n0027\n7\n65534\n65534\n65534 12\nsh " + dir + "\n" + fds + "1\nSigBlk" + strings.TrimSuffix(signals, "\n") + "\nCapEff:\t0000000000000000\n"
	if out != want || status.Code != 7 {
		t.Errorf("the program ended with %+v and has\n%s\nwant\n%s", status, out, want)
	}
}

// TestAttributesRefused: what cannot be is an error of the start that names it,
// nothing runs, and no descriptor is lost.
func TestAttributesRefused(t *testing.T) {
	root(t)
	private := public(t)
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(public(t), "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	for what, tc := range map[string]struct {
		argv  []string
		dir   string
		a     Attributes
		errno syscall.Errno
		want  string
	}{
		"a directory of root":  {[]string{"true"}, private, Attributes{User: nobody}, unix.EACCES, "as user 65534: enter dir " + private},
		"a program of root":    {[]string{tool}, "/", Attributes{User: nobody}, unix.EACCES, "start " + tool + " as user 65534: permission denied"},
		"no program at all":    {[]string{"/etc/passwd"}, "/", Attributes{Umask: new(int)}, 0, "not executable"},
		"more than the kernel": {[]string{"true"}, "/", Attributes{Limits: []Limit{{OpenFiles, 1 << 40}}}, unix.EPERM, "limits.open_files 1099511627776: operation not permitted: the runner's own hard limit is lower"},
	} {
		c := shell(t.TempDir(), "")
		c.Argv, c.Dir, c.Attributes = tc.argv, tc.dir, tc.a
		p, err := Start(c)
		c.Output.Close()
		c.Lock.Close()
		if err == nil {
			t.Errorf("%s: started", what)
			cleanup(t, p, "")
			continue
		}
		if !strings.Contains(err.Error(), tc.want) || tc.errno != 0 && !errors.Is(err, tc.errno) {
			t.Errorf("%s: %v\nwant %s", what, err, tc.want)
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// TestAttributesWithoutRoot: a runner that is not root says what only root may do,
// and its own user is not another one.
func TestAttributesWithoutRoot(t *testing.T) {
	root(t)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	less := -1
	for what, tc := range map[string]struct {
		a    Attributes
		want string
	}{
		"another user":        {Attributes{User: &Credentials{UID: 1, GID: 1}}, "only root may start programs as another"},
		"a greater share":     {Attributes{Nice: &less}, "nice -1: permission denied: only root"},
		"itself":              {Attributes{User: nobody}, "started"},
		"a limit of its own":  {Attributes{Limits: []Limit{{OpenFiles, 20}}}, "started"},
		"a limit beyond that": {Attributes{Limits: []Limit{{OpenFiles, 1 << 30}}}, "raise the runner's"},
	} {
		dir := public(t)
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		// A copy, since the test's own directory is root's.
		copied := filepath.Join(dir, "test")
		if err := os.Link(binary, copied); err != nil {
			data, err := os.ReadFile(binary)
			if err == nil {
				err = os.WriteFile(copied, data, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), copied, asJSON(t, tc.a))
		cmd.Env = append(os.Environ(), attributesMode+"="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %s, %v; want %s", what, out, err, tc.want)
		}
	}
}

// TestStepKilled: a program that is killed on its way is one that was killed.
func TestStepKilled(t *testing.T) {
	_, status, err := run(t, public(t), `kill -9 $$`, Attributes{Umask: new(int)})
	if err != nil || status.Signal != unix.SIGKILL {
		t.Errorf("%+v, %v", status, err)
	}
}

// TestStepIsNotTheUsers: the program gets its environment, and the step, which has
// root's rights, does not do what that says.
func TestStepIsNotTheUsers(t *testing.T) {
	root(t)
	dir := public(t)
	c := shell(dir, `env | sort | head -c 100; echo; wc -c </proc/self/environ`)
	long := strings.Repeat("x", 100_000)
	c.Env = append(c.Env, "LD_PRELOAD=/nowhere/evil.so", "LONG="+long, "GODEBUG=nonsense=1", "SMITH_START=mark")
	c.User, c.Umask = nobody, new(int)
	p, err := Start(c)
	c.Output.Close()
	c.Lock.Close()
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, p, dir)
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil || !strings.Contains(string(out), "GODEBUG=nonsense=1\nLD_PRELOAD=/nowhere/evil.so\nLONG=xxx") {
		t.Errorf("the program has %s, %v", out, err)
	}
	// Each program that is dynamic complains once: sh and the four that it runs.
	if n := strings.Count(string(out), "/nowhere/evil.so' from LD_PRELOAD"); n > 5 {
		t.Errorf("the step was told of LD_PRELOAD, too: %d complaints in %s", n, out)
	}
}

// TestCgroup: a program is in its control group from the beginning.
func TestCgroup(t *testing.T) {
	group := ""
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		if dir, err := os.MkdirTemp(root, "smith-test-"); err == nil {
			group = dir
			t.Cleanup(func() { _ = syscall.Rmdir(dir) })
			break
		}
	}
	if group == "" {
		t.Skip("control groups cannot be made here")
	}
	for what, a := range map[string]Attributes{"by itself": {Cgroup: group}, "with a step": {Cgroup: group, Umask: new(int)}} {
		out, _, err := run(t, public(t), `grep ^0:: /proc/self/cgroup`, a)
		if err != nil || !strings.HasSuffix(strings.TrimSpace(out), filepath.Base(group)) {
			t.Errorf("%s it is in %s, %v", what, out, err)
		}
	}
	if _, _, err := run(t, public(t), "exit 0", Attributes{Cgroup: "/sys/fs/cgroup/none"}); err == nil {
		t.Error("started in a group that is not there")
	}
}

// TestLimitOfProcesses: it counts the program and what it starts, not the step; a
// user who has as many already is named.
func TestLimitOfProcesses(t *testing.T) {
	root(t)
	user := &Credentials{UID: 23_456_789, GID: 23_456_789}
	a := Attributes{User: user, Limits: []Limit{{Processes, 2}}}
	out, _, err := run(t, public(t), "sh -c 'echo one; :'; (sh -c 'sh -c \"echo two\"; :'; :); :", a)
	if err != nil || !strings.HasPrefix(out, "one\n") || strings.Contains(out, "\ntwo") {
		t.Errorf("with 2 processes: %q, %v", out, err)
	}
	alone := a
	alone.Limits = []Limit{{Processes, 1}}
	for range 2 { // at a start, kernels do not count the one that starts
		first := shell(public(t), "")
		first.Argv, first.Attributes = []string{"sleep", "1000"}, alone
		p, err := Start(first)
		if err != nil {
			t.Fatalf("with 1 process: %v", err)
		}
		cleanup(t, p, first.Dir)
	}
	if _, _, err := run(t, public(t), "exit 0", alone); err == nil || !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "limits.processes 1") {
		t.Errorf("one too many: %v", err)
	}
}
