package e2e

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/capture"
)

func newFlagSet(name string) *flag.FlagSet { return flag.NewFlagSet(name, flag.ExitOnError) }

// process is a program under test that can be killed and started again.
type process struct {
	t    *testing.T
	name string
	args []string
	env  []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	output capture.Buffer
}

// start runs the program; its output is shown if the test fails.
func start(t *testing.T, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: path, args: args, env: env}
	p.Start()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("output of %s:\n%s", path, p.output.Tail(8<<10))
		}
	})
	return p
}

// Start starts the program, for the first time or again.
func (p *process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.name, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
}

// Kill ends the program with SIGKILL and waits for its end.
func (p *process) Kill() { p.end(syscall.SIGKILL) }

// Stop asks the program to end, which ours must with exit code 0, and kills it
// when it does not within 20 s.
func (p *process) Stop() { p.end(syscall.SIGTERM) }

func (p *process) end(sig syscall.Signal) {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	lived := cmd.Process.Signal(sig) == nil
	select {
	case <-exited:
		ours := filepath.Dir(p.name) == filepath.Dir(bin("smith"))
		if code := cmd.ProcessState.ExitCode(); ours && lived && sig == syscall.SIGTERM && code != 0 {
			p.t.Errorf("%s ends with exit code %d after %s", p.name, code, sig)
		}
	case <-time.After(20 * time.Second):
		p.t.Errorf("%s does not end within 20 s of %s", p.name, sig)
		_ = cmd.Process.Kill()
		<-exited
	}
}

// Signal sends a signal.
func (p *process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// run runs a program to its end and gives its output and exit code.
func run(t *testing.T, env []string, path string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatalf("run %s %v: %v", path, args, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// processes are those whose file in /proc contains the text.
func processes(file, text string) []int {
	var found []int
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		var content string
		if file == "exe" {
			content, _ = os.Readlink(filepath.Join(dir, file))
		} else {
			raw, _ := os.ReadFile(filepath.Join(dir, file))
			content = string(raw)
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && strings.Contains(content, text) {
			found = append(found, pid)
		}
	}
	return found
}
