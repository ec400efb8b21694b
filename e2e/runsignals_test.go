package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/capture"
)

// asListener makes this test binary a program that prints each signal that it gets.
const asListener = "E2E_SIGNALS"

func listenToSignals() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR2)
	fmt.Printf("ready %d\n", os.Getpid())
	for s := range signals {
		if s == syscall.SIGUSR2 {
			os.Exit(9)
		}
		fmt.Printf("got %s\n", s)
	}
}

// heard are the signals that a listener has got.
var heard = regexp.MustCompile(`got (\w+)`)

func got(out *capture.Buffer) (all []string) {
	for _, m := range heard.FindAllStringSubmatch(out.String(), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestRunSendsSignalsOnce: the program gets each signal once, whether it was sent to
// smith run alone, to the process group, or to both.
func TestRunSendsSignalsOnce(t *testing.T) {
	t.Parallel()
	listener := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "NATS_URL=nats://127.0.0.1:1", asListener+"=1")
		return cmd
	}
	kill := func(t *testing.T, pid int, s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(pid, s); err != nil {
			t.Error(err)
		}
	}
	ready := func(t *testing.T, out *capture.Buffer) (pid int) {
		t.Helper()
		eventually(t, 10*time.Second, "the program", func() bool {
			_, line, found := strings.Cut(out.String(), "ready ")
			line, _, ended := strings.Cut(line, "\n")
			pid, _ = strconv.Atoi(strings.TrimSpace(line))
			return found && ended
		})
		return pid
	}
	// settled waits for signals, and for a while in which no other may come.
	settled := func(t *testing.T, out *capture.Buffer, want ...string) {
		t.Helper()
		eventually(t, 5*time.Second, fmt.Sprint(want), func() bool { return len(got(out)) >= len(want) })
		<-time.After(400 * time.Millisecond)
		if all := got(out); strings.Join(all, " ") != strings.Join(want, " ") {
			t.Errorf("it got %q, want %q", all, want)
		}
	}
	const later = 600 * time.Millisecond // by when a signal is another one

	t.Run("of a terminal", func(t *testing.T) {
		t.Parallel()
		cmd := listener(bin("smith"), "run", "--", os.Args[0])
		tty := onTerminal(t, cmd)
		out := &capture.Buffer{}
		begin(t, cmd)
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := tty.Read(buf)
				if _, _ = out.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		ready(t, out)
		_, _ = tty.Write([]byte{3}) // Ctrl-C
		settled(t, out, "interrupt")
		_, _ = tty.Write([]byte{3})
		settled(t, out, "interrupt", "interrupt")
		_, _ = tty.Write([]byte{28}) // Ctrl-\
		settled(t, out, "interrupt", "interrupt", "quit")
		<-time.After(later)
		kill(t, cmd.Process.Pid, syscall.SIGINT) // from elsewhere
		settled(t, out, "interrupt", "interrupt", "quit", "interrupt")
		kill(t, cmd.Process.Pid, syscall.SIGUSR2)
		if code := end(t, cmd); code != 9 {
			t.Errorf("exit code %d", code)
		}
	})

	t.Run("without a terminal", func(t *testing.T) {
		t.Parallel()
		cmd := listener(bin("smith"), "run", "--", os.Args[0])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out := begin(t, cmd)
		pid := ready(t, out)
		kill(t, cmd.Process.Pid, syscall.SIGTERM)
		kill(t, cmd.Process.Pid, syscall.SIGHUP)
		eventually(t, 5*time.Second, "both", func() bool { return len(got(out)) == 2 })
		out.Reset()
		kill(t, -cmd.Process.Pid, syscall.SIGHUP) // kill %1
		settled(t, out, "hangup")
		<-time.After(later)
		kill(t, cmd.Process.Pid, syscall.SIGTERM) // timeout(1)
		kill(t, -cmd.Process.Pid, syscall.SIGTERM)
		settled(t, out, "hangup", "terminated")
		kill(t, pid, syscall.SIGKILL)
		if code := end(t, cmd); code != 128+9 {
			t.Errorf("exit code %d", code)
		}
	})

	t.Run("of timeout", func(t *testing.T) {
		t.Parallel()
		cmd := listener("timeout", "-k", "1", "1", bin("smith"), "run", "--", os.Args[0])
		out := begin(t, cmd)
		ready(t, out)
		settled(t, out, "terminated")
		end(t, cmd)
	})

	t.Run("ignored, as by nohup", func(t *testing.T) {
		t.Parallel()
		cmd := listener("sh", "-c", `trap "" HUP; exec "$@"`, "sh", bin("smith"), "run", "--", os.Args[0])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out := begin(t, cmd)
		ready(t, out)
		kill(t, cmd.Process.Pid, syscall.SIGHUP)
		kill(t, cmd.Process.Pid, syscall.SIGTERM)
		settled(t, out, "terminated")
		kill(t, cmd.Process.Pid, syscall.SIGUSR2)
		if code := end(t, cmd); code != 9 {
			t.Errorf("exit code %d", code)
		}
	})
}
