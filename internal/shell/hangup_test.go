package shell_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
)

// programMode makes the test binary a service that does nothing.
const programMode = "SHELL_TEST_PROGRAM"

func program() shell.Program {
	return shell.Program{Service: "detector", Run: func(ctx context.Context, env shell.Env, _ *config.File) error {
		env.Ready()
		<-ctx.Done()
		return nil
	}}
}

// TestHangupAndDeadLogReaderEndNobody: neither the terminal's end nor that of the
// log's reader ends a service, and it still shuts down when it is to.
func TestHangupAndDeadLogReaderEndNobody(t *testing.T) {
	s := natstest.Listen(t)
	natstest.Streams(t, natstest.JetStream(t, s.Connect(t)))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--server", s.URL(), "--http", "", "--log-format", "text")
	cmd.Env = append(os.Environ(), programMode+"=1")
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	wait := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("the service ended before it logged %q: %v", text, cmd.Wait())
	}
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	wait("serving")
	signal(syscall.SIGHUP)
	wait("SIGHUP changes nothing")
	log.Close()
	signal(syscall.SIGHUP)  // of which it logs
	signal(syscall.SIGTERM) // of that, too
	if err := cmd.Wait(); err != nil {
		t.Errorf("the service did not shut down by itself: %v", err)
	}
}
