package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOwn: the group of a process is found as the kernel tells of it, on hosts with
// version 2 alone, with both, and in containers.
func TestOwn(t *testing.T) {
	const v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	const v1 = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	for _, tc := range []struct {
		mounts, groups, dir string
		contained           bool
	}{
		{v2, "0::/system.slice/runner.service\n", "/sys/fs/cgroup/system.slice/runner.service", false},
		{v2, "0::/\n", "/sys/fs/cgroup", true},
		{v1 + "40 23 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "4:memory:/x\n0::/a\n", "/sys/fs/cgroup/unified/a", false},
		{"30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "0::/docker/x\n", "/sys/fs/cgroup", true},
		{v1, "4:memory:/x\n", "", false},
		{v2, "", "", false},
		{"", "0::/\n", "", false},
	} {
		if dir, contained := own(tc.mounts, tc.groups); dir != tc.dir || contained != tc.contained {
			t.Errorf("%q in %q: %s, %t", tc.groups, tc.mounts, dir, contained)
		}
	}
}

// TestRefusals: a limit that cannot be held names what is missing.
func TestRefusals(t *testing.T) {
	some := t.TempDir()
	if err := os.WriteFile(filepath.Join(some, "cgroup.controllers"), []byte("cpu pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, tc := range map[string]struct {
		base string
		l    Limits
	}{
		"no cgroup v2 is mounted, and so no memory limit can be set":   {"", Limits{Memory: 1 << 20}},
		"has no cpu controller (it has: none)":                         {t.TempDir(), Limits{CPU: 1}},
		"has no memory controller (it has: cpu, pids)":                 {some, Limits{Memory: 1 << 20, CPU: 1}},
		"limits.processes: " + ErrRefused.Error() + ": cgroup " + some: {some, Limits{Processes: 5}}, // it is no group
	} {
		_, err := At(tc.base, "r").Group("a", 1, tc.l)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "remove the limit") {
			t.Errorf("%v, want %s", err, want)
		}
		if entries, _ := os.ReadDir(tc.base); len(entries) > 1 {
			t.Errorf("%s: something was made: %v", want, entries)
		}
	}
	if At(some, "r").Has(Limits{Memory: 1}) || !At(some, "r").Has(Limits{CPU: 1, Processes: 1}) || At("", "r").Has(Limits{}) {
		t.Error("what there is is not seen")
	}
}

// TestWrite: limits are written as the kernel reads them.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"memory.max": "67108864", "memory.oom.group": "1", "memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "20"}
	for name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Limits{Memory: 64 << 20, CPU: 1.5, Processes: 20}).write(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if text, err := os.ReadFile(filepath.Join(dir, name)); string(text) != want {
			t.Errorf("%s is %q, %v; want %s", name, text, err, want)
		}
	}
	if err := (Limits{Memory: 64 << 20}).write(t.TempDir()); err == nil {
		t.Error("a limit that is not written is none")
	}
}

// TestRemoveKillsWhatHides: in a real group, a process that nobody knows of any
// longer ends with it.
func TestRemoveKillsWhatHides(t *testing.T) {
	tree := Of("cgroup-test")
	dir, err := os.MkdirTemp(tree.base, "smith-test-")
	if tree.base == "" || err != nil {
		t.Skip("cgroups cannot be made here:", err)
	}
	t.Cleanup(func() { syscall.Rmdir(dir) })
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "setsid sleep 1000 & echo; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if !Remove(dir) {
		t.Error("the group is still there")
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("%v", err)
	}
	if !Remove(dir) || OutOfMemory(dir) {
		t.Error("a group that is gone")
	}
}
