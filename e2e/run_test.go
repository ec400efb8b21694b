package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/internal/capture"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const runConfig = `
supervision_tree:
  failure_detection: {heartbeat_interval: 1s}
  tree:
    - {name: owned, heartbeats: runner, command: [sleep, "1000"]}
`

// runFleet is a fleet for commands that are run by hand.
type runFleet struct {
	t   *testing.T
	url string
	nc  *nats.Conn
	js  jetstream.JetStream
}

func newRunFleet(t *testing.T) *runFleet {
	t.Helper()
	_, url := up(t, filepath.Join(t.TempDir(), "store"), runConfig)
	return connectTo(t, url)
}

func connectTo(t *testing.T, url string) *runFleet {
	t.Helper()
	f := &runFleet{t: t, url: url}
	var err error
	if f.nc, err = nats.Connect(f.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nc.Close)
	if f.js, err = jetstream.New(f.nc); err != nil {
		t.Fatal(err)
	}
	return f
}

// command is `smith run`, of which the flags and the program are given.
func (f *runFleet) command(args ...string) *exec.Cmd { return runCommand(f.url, args...) }

func runCommand(url string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin("smith"), append([]string{"run"}, args...)...)
	cmd.Env = append(os.Environ(), "NATS_URL="+url)
	return cmd
}

// code runs a command to its end.
func code(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	limit := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// begin starts a command, which is killed at the end of the test.
func begin(t *testing.T, cmd *exec.Cmd) *capture.Buffer {
	t.Helper()
	out := &capture.Buffer{}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("output of %v:\n%s", cmd.Args[1:], out.Tail(4<<10))
		}
	})
	return out
}

// end waits for the end of a command that was begun.
func end(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	limit := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func (f *runFleet) view(agent string) (v contracts.AgentView) {
	if msg, err := f.nc.Request("smith.detector.status", []byte(`{"agent":"`+agent+`"}`), 2*time.Second); err == nil {
		_ = json.Unmarshal(msg.Data, &v)
	}
	return v
}

func (f *runFleet) await(agent string, status contracts.AgentStatus) {
	f.t.Helper()
	eventually(f.t, 10*time.Second, agent+" to be "+string(status), func() bool { return f.view(agent).Status == status })
}

// last is the last event of a type about an agent.
func last[T any](f *runFleet, t contracts.EventType, agent string) (data T) {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), contracts.EventStream)
	if err != nil {
		f.t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(f.t.Context(), contracts.EventSubject(t, agent))
	if err != nil {
		f.t.Fatalf("no %s of %s: %v", t, agent, err)
	}
	_, data, err = contracts.DecodeEventAs[T](msg.Subject, msg.Data)
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

func TestRunMakesACommandAnAgent(t *testing.T) {
	t.Parallel()
	f := newRunFleet(t)

	t.Run("its output, input and exit code are its own", func(t *testing.T) {
		input := make([]byte, 1<<20)
		_, _ = rand.Read(input)
		cmd := f.command("--name", "job", "--type", "batch", "--", "sh", "-c", "cat; echo done >&2; exit 3")
		var out, errOut bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &errOut
		if code := code(t, cmd); code != 3 || !bytes.Equal(out.Bytes(), input) || errOut.String() != "done\n" {
			t.Errorf("exit code %d, %d bytes of %d, standard error %q", code, out.Len(), len(input), errOut.String())
		}
		started := last[contracts.AgentStartedData](f, contracts.AgentStarted, "job")
		failed := last[contracts.AgentFailedData](f, contracts.AgentFailed, "job")
		if started.PID == 0 || started.Type != "batch" || started.Interval.D() != 5*time.Second || started.Runner != "" {
			t.Errorf("started: %+v", started)
		}
		if failed.Reason != contracts.ReasonExited || failed.Exit == nil || failed.Exit.Code != 3 || failed.Exit.Used == nil || failed.Exit.Lived <= 0 ||
			failed.Detail != fmt.Sprintf("process %d: exit code 3", started.PID) {
			t.Errorf("failed: %+v, exit %+v", failed, failed.Exit)
		}
		if view := f.view("job"); view.Health != contracts.HealthUnknown {
			t.Errorf("the detector has not seen its end: %+v", view)
		}
	})

	t.Run("again under the same name", func(t *testing.T) {
		cmd := f.command("--name", "job", "--heartbeat-interval", "100ms", "--", "cat")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		begin(t, cmd)
		f.await("job", contracts.StatusRunning)
		if out, errOut, code := run(t, []string{"NATS_URL=" + f.url}, bin("smith"), "run", "--name", "job", "--", "echo", "twice"); code != 125 || out != "" || !strings.Contains(errOut, "name is taken") {
			t.Errorf("a second one: exit code %d\n%s%s", code, out, errOut)
		}
		_ = stdin.Close()
		if code := end(t, cmd); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if stopped := last[contracts.AgentStoppedData](f, contracts.AgentStopped, "job"); stopped.Reason != contracts.StopCompleted {
			t.Errorf("%+v", stopped)
		}
	})

	t.Run("not under a name of the tree", func(t *testing.T) {
		f.await("owned", contracts.StatusRunning)
		if out, errOut, code := run(t, []string{"NATS_URL=" + f.url}, bin("smith"), "run", "--name", "owned", "--", "echo", "here"); code != 125 || out != "" || !strings.Contains(errOut, "choose another --name") {
			t.Errorf("exit code %d\n%s%s", code, out, errOut)
		}
	})

	t.Run("what cannot be started", func(t *testing.T) {
		for program, want := range map[string]int{"no-such-program": 127, "./no/such": 127, "/etc/passwd": 126, "/": 126} {
			if _, errOut, code := run(t, []string{"NATS_URL=" + f.url}, bin("smith"), "run", "--", program); code != want || strings.Count(errOut, "\n") != 1 {
				t.Errorf("%s: exit code %d, want %d\n%s", program, code, want, errOut)
			}
		}
	})

	t.Run("checked", func(t *testing.T) {
		dir := t.TempDir()
		well, passed, check := filepath.Join(dir, "well"), filepath.Join(dir, "passed"), filepath.Join(dir, "check")
		for file, text := range map[string]string{well: "", check: "#!/bin/sh\ntest -e " + well + " && touch " + passed} {
			if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cmd := f.command("--name", "checked", "--heartbeat-interval", "100ms", "--health", "command="+check+";interval=100ms;failures=2", "--", "sleep", "100")
		begin(t, cmd)
		f.await("checked", contracts.StatusRunning)
		// Until the first check that passes, failed ones count for nothing.
		eventually(t, 10*time.Second, "a check", func() bool { _, err := os.Stat(passed); return err == nil })
		if err := os.Remove(well); err != nil {
			t.Fatal(err)
		}
		f.await("checked", contracts.StatusDegraded)
		msg, err := f.nc.Request("smith.agent.checked.ping", nil, 2*time.Second)
		if err != nil || !strings.Contains(string(msg.Data), "its health check failed 2 times in a row") {
			t.Errorf("ping: %v, %v", msg, err)
		}
		if err := os.WriteFile(well, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f.await("checked", contracts.StatusRunning)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if code := end(t, cmd); code != 128+15 {
			t.Errorf("exit code %d", code)
		}
	})

	t.Run("paused", func(t *testing.T) {
		cmd := f.command("--name", "paused", "--heartbeat-interval", "100ms", "--", "sleep", "100")
		begin(t, cmd)
		f.await("paused", contracts.StatusRunning)
		pid := last[contracts.AgentStartedData](f, contracts.AgentStarted, "paused").PID
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		eventually(t, 10*time.Second, "its silence", func() bool { return f.view("paused").Health == contracts.HealthUnhealthy })
		_ = syscall.Kill(pid, syscall.SIGCONT)
		eventually(t, 10*time.Second, "its return", func() bool { return f.view("paused").Health == contracts.HealthHealthy })
		_ = syscall.Kill(pid, syscall.SIGKILL)
		if code := end(t, cmd); code != 128+9 {
			t.Errorf("exit code %d", code)
		}
	})

	t.Run("superseded", func(t *testing.T) {
		cmd := f.command("--name", "old", "--", "sleep", "100")
		said := begin(t, cmd)
		f.await("old", contracts.StatusRunning)
		if err := f.nc.Publish("smith.heartbeat.old", []byte(`{"incarnation":1}`)); err != nil {
			t.Fatal(err)
		}
		if code := end(t, cmd); code != 128+15 || !strings.Contains(said.String(), "superseded") {
			t.Errorf("exit code %d: %s", code, said.String())
		}
	})

	t.Run("stopped over NATS with all that it has started", func(t *testing.T) {
		pids := filepath.Join(t.TempDir(), "pids")
		// One that ignores the signal and has left session and group, beside one that heeds it.
		script := `setsid sh -c 'trap "" TERM; echo $$ >>` + pids + `; sleep 1000' & sleep 1000 & echo $! >>` + pids + `; wait`
		cmd := f.command("--name", "stopped", "--shutdown-timeout", "1s", "--", "sh", "-c", script)
		begin(t, cmd)
		f.await("stopped", contracts.StatusRunning)
		eventually(t, 5*time.Second, "two processes", func() bool { raw, _ := os.ReadFile(pids); return bytes.Count(raw, []byte("\n")) == 2 })
		if _, err := f.nc.Request("smith.agent.stopped.stop", []byte(`{"timeout":"500ms"}`), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if code := end(t, cmd); code != 128+15 {
			t.Errorf("exit code %d", code)
		}
		raw, _ := os.ReadFile(pids)
		for pid := range strings.FieldsSeq(string(raw)) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if err == nil && !bytes.Contains(stat, []byte(") Z ")) { // init may take its time to reap
				t.Errorf("process %s lives", pid)
			}
		}
		stopped := last[contracts.AgentStoppedData](f, contracts.AgentStopped, "stopped")
		if stopped.Reason != contracts.StopRequested || stopped.Exit.Signal != "SIGTERM" || stopped.Exit.Blame != contracts.BlameOrder {
			t.Errorf("%+v, exit %+v", stopped, stopped.Exit)
		}
	})
}

// TestRunWithoutNATS: the command runs the same, is told of once, and becomes an
// agent when there is a server, over and over.
func TestRunWithoutNATS(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	out, errOut, status := run(t, []string{"NATS_URL=" + url}, bin("smith"), "run", "--", "sh", "-c", "echo out; echo err >&2; kill -KILL $$")
	if lines := strings.SplitAfter(errOut, "\n"); status != 128+9 || out != "out\n" || len(lines) != 3 || lines[1] != "err\n" || !strings.HasPrefix(errOut, "smith run: cannot connect to NATS at "+url) {
		t.Errorf("exit code %d\n%s%s", status, out, errOut)
	}
	refusing := start(t, os.Args[0], []string{asNATSServer + "=1"}, "-a", "127.0.0.1", "-p", fmt.Sprint(port), "--user", "a", "--pass", "b")
	eventually(t, 10*time.Second, "a server that refuses", func() bool {
		_, err := nats.Connect(url)
		return errors.Is(err, nats.ErrAuthorization)
	})
	_, errOut, status = run(t, []string{"NATS_URL=" + url}, bin("smith"), "run", "--", "sh", "-c", "exit 6")
	if status != 6 || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "Authorization Violation; the command runs all the same, and is not seen") {
		t.Errorf("refused: exit code %d\n%s", status, errOut)
	}
	refusing.Kill()

	cmd := runCommand(url, "--name", "lasting", "--heartbeat-interval", "100ms", "--", "sh", "-c", "read line; exit 7")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := begin(t, cmd)
	serve := func() *process {
		p := start(t, os.Args[0], []string{asNATSServer + "=1"}, "-a", "127.0.0.1", "-p", fmt.Sprint(port))
		eventually(t, 15*time.Second, "the agent to beat", func() bool {
			nc, err := nats.Connect(url)
			if err != nil {
				return false
			}
			defer nc.Close()
			sub, err := nc.SubscribeSync("smith.heartbeat.lasting")
			if err != nil {
				return false
			}
			_, err = sub.NextMsg(500 * time.Millisecond)
			return err == nil
		})
		return p
	}
	serve().Kill()
	serve().Kill()
	_, _ = io.WriteString(stdin, "end\n")
	begin := time.Now()
	if code := end(t, cmd); code != 7 || time.Since(begin) > 6*time.Second {
		t.Errorf("exit code %d after %s", code, time.Since(begin))
	}
	if text := said.String(); strings.Count(text, "the command runs all the same") != 1 || strings.Count(text, "\n") > 2 {
		t.Errorf("it says:\n%s", text)
	}
}

// TestRunAsInit: as the first process of a pid namespace it reaps what others leave.
func TestRunAsInit(t *testing.T) {
	t.Parallel()
	script := `i=0; while [ $i -lt 20 ]; do sh -c '(sleep 0.01 &) ; setsid sleep 0.01 &'; i=$((i+1)); done
		n=x; i=0; while [ "$n" != 0 ] && [ $i -lt 100 ]; do sleep 0.05; n=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '); i=$((i+1)); done
		echo zombies $n, self $PPID; exit 5`
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", bin("smith"), "run", "--server", "nats://127.0.0.1:1", "--", "sh", "-c", script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if os.Geteuid() == 0 {
		cmd.Args = append(cmd.Args[:1], cmd.Args[3:]...)
	}
	switch code := code(t, cmd); {
	case code == 1 && out.Len() == 0:
		t.Skip("no pid namespaces here")
	case code != 5 || out.String() != "zombies 0, self 1\n":
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// onTerminal makes a command the leader of a session with a terminal of its own.
func onTerminal(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here:", err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master
}
