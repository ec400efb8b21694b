package procfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestParseStat(t *testing.T) {
	const tail = " 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 256\n"
	tests := []struct {
		name, in string
		want     Stat
		bad      bool
	}{
		{name: "plain", in: "42 (sh) S" + tail, want: Stat{PID: 42, State: 'S', ParentPID: 1, Group: 42, Session: 42, StartTime: 987654, ExitCode: 256}},
		{name: "name with parentheses and spaces", in: "42 (a) R (b) Z" + tail, want: Stat{PID: 42, State: 'Z', ParentPID: 1, Group: 42, Session: 42, StartTime: 987654, ExitCode: 256}},
		{name: "empty", in: "", bad: true},
		{name: "cut short", in: "42 (sh) S 1 42", bad: true},
		{name: "not a number", in: "42 (sh) S x" + tail, bad: true},
		{name: "parentheses swapped", in: ")(", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseStat([]byte(tt.in))
			if (err != nil) != tt.bad || got != tt.want {
				t.Fatalf("ParseStat(%q) = %+v, %v; want %+v, error %v", tt.in, got, err, tt.want, tt.bad)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("1 (x) S 0"))
	f.Add([]byte("1 ()) S"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseStat(b); err == nil && s.State == 0 {
			t.Fatalf("ParseStat(%q) accepted a process without a state", b)
		}
	})
}

func TestReadingAProcess(t *testing.T) {
	held := filepath.Join(t.TempDir(), "held")
	f, err := os.Create(held)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "echo up; read x")
	cmd.Env = []string{"OTHER=x=y", "XPROCFS_TEST=1", "PROCFS_TEST=" + held}
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, _ = out.Read(make([]byte, 8)) // the shell runs once it has spoken
	pid := cmd.Process.Pid

	s, err := ReadStat(pid)
	if err != nil || !s.Alive() || s.Paused() || s.Session != pid || s.Group != pid || s.ParentPID != os.Getpid() || s.StartTime == 0 {
		t.Errorf("ReadStat = %+v, %v", s, err)
	}
	one := func(what string, found []Stat) {
		t.Helper()
		if len(found) != 1 || found[0].PID != pid {
			t.Errorf("%s found %+v, want only process %d", what, found, pid)
		}
	}
	id, err := Identify(held)
	if err != nil || id == (FileID{}) {
		t.Errorf("identity %v, %v", id, err)
	}
	var marked []Stat
	for _, p := range Scan(Look{Vars: []string{"PROCFS_TEST", "OTHER"}, FD: 3}) {
		switch {
		case p.Vars == nil:
		case p.Vars["PROCFS_TEST"] == held && p.Vars["OTHER"] == "x=y" && len(p.Vars) == 2 && p.Holds == id && p.Kept(3):
			marked = append(marked, p.Stat)
		default:
			t.Errorf("variables %v", p.Vars)
		}
	}
	one("Scan", marked)
	holders, err := Holders(held, held+".none")
	if err != nil {
		t.Error(err)
	}
	one("Holders", holders)

	in.Close()
	_ = cmd.Wait()
	if _, err := ReadStat(pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadStat of a reaped process: %v, want fs.ErrNotExist", err)
	}
}

func TestBootID(t *testing.T) {
	id, err := BootID()
	if err != nil || len(id) != 36 {
		t.Fatalf("BootID() = %q, %v", id, err)
	}
}

func FuzzPick(f *testing.F) {
	f.Add([]byte("A=1\x00MARK=x\x00B=2\x00"))
	f.Add([]byte("MARK=\x00MARK=y"))
	f.Add([]byte("XMARK=x"))
	f.Fuzz(func(t *testing.T, env []byte) {
		for name, value := range pick(env, []string{"MARK", "B"}) {
			if name != "MARK" && name != "B" || !bytes.Contains(env, []byte(name+"="+value)) {
				t.Errorf("%q of %q: %q", name, env, value)
			}
		}
	})
}

// What is below this process is found however deep, and while it comes and
// goes; what is to be skipped is not.
func TestScanBelow(t *testing.T) {
	mark := t.TempDir()
	start := func(script string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "PROCFS_TEST=" + mark}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 8))
		t.Cleanup(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		})
		return cmd
	}
	deep, skipped := start("sh -c 'sh -c \"echo up; exec sleep 1000\"; :'; :"), start("sh -c 'echo up; sleep 1000; :'; :")
	start("echo up; while :; do sleep 0; done")
	found, err := ScanBelow(Look{Vars: []string{"PROCFS_TEST"}}, []int{os.Getpid()}, func(pid int) bool { return pid == skipped.Process.Pid })
	if err != nil {
		t.Fatal(err)
	}
	below := map[int]bool{deep.Process.Pid: true}
	for _, p := range found { // parents come before their children
		if p.PID == skipped.Process.Pid || p.ParentPID == skipped.Process.Pid {
			t.Errorf("it was to be skipped: %+v", p)
		}
		if below[p.ParentPID] && p.Vars["PROCFS_TEST"] == mark {
			below[p.PID] = true
		}
	}
	if len(below) != 3 {
		t.Errorf("found %v below process %d, want two more; all: %+v", below, deep.Process.Pid, found)
	}
}

// A process that runs one program after the other has an environment in between,
// too: it is not taken for one without.
func TestScanSeesTheEnvironmentAmidExec(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", `echo up; exec /bin/sh -c "$AGAIN"`)
	cmd.Env = []string{"PROCFS_TEST=" + mark, `AGAIN=exec /bin/sh -c "$AGAIN"`}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	p := Process{Stat: Stat{PID: cmd.Process.Pid}}
	r := newReader()
	for i := range 20_000 {
		p.look(Look{Vars: []string{"PROCFS_TEST"}}, r)
		if p.Vars["PROCFS_TEST"] != mark {
			t.Fatalf("look %d saw %v", i, p.Vars)
		}
	}
}

// A program that another one brings into a pid namespace has no session there;
// what it starts has none either, and is seen.
func TestScanWithoutASession(t *testing.T) {
	t.Parallel()
	const inside = "PROCFS_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		switch out, err := cmd.CombinedOutput(); {
		case err == nil && bytes.Contains(out, []byte("--- PASS")):
		case bytes.Contains(out, []byte("unshare: ")) || errors.Is(err, exec.ErrNotFound):
			t.Skipf("no namespaces here: %v: %s", err, out)
		default:
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if !slices.ContainsFunc(Scan(Look{}), func(p Process) bool { return p.PID == cmd.Process.Pid }) {
		t.Error("the child is not found")
	}
}
