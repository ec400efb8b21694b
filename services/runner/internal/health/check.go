// Package health finds out whether an agent works, by what can be seen of it from
// outside.
package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// ErrHost tells that a check could not be made for want of something that the host
// lacks. It says nothing of the agent.
var ErrHost = errors.New("the host could not make the check")

// Check asks an agent once; an error says how it is not well, in one line.
type Check func(context.Context) error

// As is how a command that checks an agent is run: as the agent's program is.
type As struct {
	Dir string
	Env []string
	// User is nil where it is this process's own.
	User *syscall.Credential
	// Run runs the command, as [exec.Cmd.Run] does, which nil stands for.
	Run func(*exec.Cmd) error
}

// NewCheck makes the check of a complete spec, nil where it has none. A check that
// takes longer than its timeout has failed.
func NewCheck(spec contracts.HealthSpec, as As) Check {
	var ask Check
	switch {
	case len(spec.Command) > 0:
		ask = func(ctx context.Context) error { return run(ctx, spec.Command, as) }
	case spec.HTTP != "":
		ask = func(ctx context.Context) error { return get(ctx, spec.HTTP) }
	case spec.TCP != "":
		ask = func(ctx context.Context) error { return connect(ctx, spec.TCP) }
	default:
		return nil
	}
	timeout := spec.Timeout.D()
	return func(ctx context.Context) error {
		within, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err := ask(within)
		if err != nil && within.Err() != nil && ctx.Err() == nil {
			return fmt.Errorf("%s gave no answer within %s", what(spec), timeout)
		}
		return err
	}
}

// what names the check.
func what(spec contracts.HealthSpec) string {
	switch {
	case len(spec.Command) > 0:
		return "command " + spec.Command[0]
	case spec.HTTP != "":
		return "GET " + spec.HTTP
	}
	return "connection to " + spec.TCP
}

// maxSaid bounds what is kept of a check's output.
const maxSaid = 200

// run runs a program in a session of its own, so that what it leaves behind is told
// from what this process runs itself. Its process group is killed at the end of ctx.
func run(ctx context.Context, argv []string, as As) error {
	program, err := process.Lookup(argv[0], as.Dir, as.Env)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	said := &head{max: maxSaid}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = as.Dir, as.Env, said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as.User}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // what it started may hold its output open
	if as.Run == nil {
		as.Run = (*exec.Cmd).Run
	}
	err = as.Run(cmd)
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case process.LacksResources(err):
		return fmt.Errorf("%w: %w", ErrHost, err)
	case errors.As(err, &exit):
		err = errors.New(exit.String())
	}
	text := fmt.Sprintf("command %s: %v", argv[0], err)
	if line := said.line(); line != "" {
		text += ": " + line
	}
	return errors.New(text)
}

// head keeps the beginning of what is written to it.
type head struct {
	max  int
	kept bytes.Buffer
}

func (h *head) Write(p []byte) (int, error) {
	h.kept.Write(p[:min(len(p), h.max-h.kept.Len())])
	return len(p), nil
}

// line is the first line that says something, without control characters.
func (h *head) line() string {
	for line := range strings.Lines(h.kept.String()) {
		if line = strings.TrimSpace(strings.Map(printable, line)); line != "" {
			return line
		}
	}
	return ""
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}

// get asks by HTTP. Redirects are answers, and no proxy is asked.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "mistersmith-health")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return cause(err)
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

func connect(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return cause(err)
	}
	return conn.Close()
}

// cause tells a failure of the agent from one of the host.
func cause(err error) error {
	if process.LacksResources(err) {
		return fmt.Errorf("%w: %w", ErrHost, err)
	}
	return err
}
