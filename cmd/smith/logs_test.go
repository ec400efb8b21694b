package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner"
)

// plenty is more output than a test makes.
const plenty = 64 << 20

// hostOf runs a runner that keeps most bytes of output, or the default; stop ends it and leaves its agents.
func hostOf(t testing.TB, server *natstest.Server, name, dir string, most int64) (stop func()) {
	t.Helper()
	health := shell.NewHealth(contracts.ServiceRunner)
	nc := server.Connect(t)
	env, err := shell.NewEnv(t.Context(), contracts.ServiceRunner, "", nc, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), health)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- runner.Run(ctx, env, runner.Config{Name: name, StateDir: dir, WorkDir: dir, MaxOutput: most})
	}()
	for {
		ready, changed := health.IsReady(contracts.ServiceRunner)
		if ready {
			break
		}
		<-changed
	}
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("runner %s ended with: %v", name, err)
		}
		nc.Close()
	})
}

// tellRunner starts or ends an agent on a runner.
func tellRunner(t testing.TB, nc *nats.Conn, runner, verb string, cmd any) {
	t.Helper()
	reply, err := shell.Call[contracts.RunnerReply](t.Context(), nc, contracts.RunnerSubject(runner, verb), cmd)
	if err != nil || reply.Code != contracts.RunnerOK {
		t.Fatalf("%s %+v: %+v, %v", verb, cmd, reply, err)
	}
}

func script(agent string, incarnation uint64, text string) contracts.StartCommand {
	return contracts.StartCommand{Agent: agent, Incarnation: incarnation, Command: []string{"sh", "-c", text}}
}

// TestLogs reads from a real runner what real processes print, without a
// supervisor.
func TestLogs(t *testing.T) {
	server := natstest.Listen(t)
	nc := server.Connect(t)
	natstest.Streams(t, natstest.JetStream(t, nc))
	defer hostOf(t, server, "r1", t.TempDir(), plenty)()
	defer hostOf(t, server, "r2", t.TempDir(), plenty)()
	tellRunner(t, nc, "r1", "start", script("talk", 1, `printf 'before\n'; exec sleep 1000`))
	eventually(t, "its output", func() bool { return strings.Contains(logs(t, server, "talk").out, "before") })
	tellRunner(t, nc, "r1", "stop", contracts.StopCommand{Agent: "talk", Incarnation: 1, Kill: true})
	tellRunner(t, nc, "r2", "start", script("talk", 2, `printf 'one\n\033[31mred\ttab\377\n'; echo three >&2; exec sleep 1000`))
	defer tellRunner(t, nc, "r2", "stop", contracts.StopCommand{Agent: "talk", Incarnation: 2, Kill: true})
	eventually(t, "its output", func() bool { return strings.Contains(logs(t, server, "talk").out, "three") })

	for _, c := range []struct {
		args string
		want string
	}{
		{"talk --plain", "one\n\x1b[31mred\ttab\xff\nthree\n"},
		{"talk --plain -n 1", "three\n"},
		{"talk --plain --incarnation 1", "before\n"},
		{"talk --plain --runner r1", "before\n"},
		{"talk --plain --since 10m -n 2", "\x1b[31mred\ttab\xff\nthree\n"},
		{"talk --plain --since 2100-01-02T15:04:05Z", ""},
	} {
		if got := logs(t, server, strings.Fields(c.args)...); got.code != 0 || got.out != c.want {
			t.Errorf("smith logs %s: exit code %d, %q, %s; want %q", c.args, got.code, got.out, got.err, c.want)
		}
	}
	var line printedLine
	if got := logs(t, server, "talk", "--json", "-n", "2"); json.Unmarshal([]byte(strings.SplitN(got.out, "\n", 2)[0]), &line) != nil ||
		line.Agent != "talk" || line.Incarnation != 2 || line.Text != "\x1b[31mred\ttab\uFFFD" || time.Since(line.Time) > time.Minute {
		t.Errorf("smith logs --json: %q", got.out)
	}
	for args, want := range map[string]string{
		"nobody":                       "smith: no output of agent nobody is kept on the 2 runners that answer; is the name right (smith agents lists them), and its runner up (smith runners)?\n",
		"talk --previous --runner r2":  "smith: no output of an incarnation before talk#2 is kept on runner r2\n",
		"talk --incarnation 7":         "smith: no output of agent talk is kept on the 2 runners that answer",
		"talk --runner r9":             "smith: ask runner r9 for output: nats: no responders",
		"talk --lines=-1":              "smith: wrong use: invalid runner command: logs: lines: -1",
		"not.a.name":                   "smith: wrong use: invalid runner command: logs: agent:",
		"talk --incarnation 3 -n 1 -f": "smith: no output of agent talk",
	} {
		if got := logs(t, server, strings.Fields(args)...); got.code == 0 || !strings.HasPrefix(got.err, want) {
			t.Errorf("smith logs %s: exit code %d, %q, want %q", args, got.code, got.err, want)
		}
	}
}

type ran struct {
	code     int
	out, err string
}

func logs(t *testing.T, server *natstest.Server, args ...string) ran {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(append([]string{"logs", "--server", server.URL()}, args...), &out, &errOut)
	return ran{code, out.String(), errOut.String()}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 30s: %s", what)
		case <-tick.C:
		}
	}
}

// TestFollow: whoever follows gets every line once, in order, over a restart of the
// agent and over one of its runner.
func TestFollow(t *testing.T) {
	server, dir := natstest.Listen(t), t.TempDir()
	nc := server.Connect(t)
	natstest.Streams(t, natstest.JetStream(t, nc))
	stop := hostOf(t, server, "r1", dir, plenty)
	defer func() { stop() }()
	const lines = 20_000
	count := func(from int) string {
		return fmt.Sprintf(`i=%d; while [ $i -lt %d ]; do echo "line $i"; i=$((i+1)); done; `, from, from+lines)
	}
	tellRunner(t, nc, "r1", "start", script("talk", 1, count(0)+"exit 3"))

	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	errOut := &synced{}
	ended := make(chan error, 1)
	go func() {
		f := clientFlags{NATSFlags: shell.NATSFlags{Server: server.URL(), Timeout: 10 * time.Second}}
		ended <- (&logsCmd{clientFlags: f, Agent: "talk", Follow: true, Plain: true}).Run(&app{ctx: ctx, stdout: w, stderr: errOut, log: slog.New(slog.DiscardHandler)})
	}()
	scan := bufio.NewScanner(r)
	read := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if want := fmt.Sprintf("line %d", i); !scan.Scan() || scan.Text() != want {
				t.Fatalf("%q is followed, want %q; %s", scan.Text(), want, errOut)
			}
		}
	}
	read(0, lines)
	tellRunner(t, nc, "r1", "start", script("talk", 2, count(lines)+"read x </dev/zero; exec sleep 1000"))
	read(lines, lines+100)
	stop()
	stop = hostOf(t, server, "r1", dir, plenty)
	read(lines+100, 2*lines)
	defer tellRunner(t, nc, "r1", "stop", contracts.StopCommand{Agent: "talk", Incarnation: 2, Kill: true})
	if !strings.Contains(errOut.String(), "-- talk#2 --") {
		t.Errorf("what was said: %s", errOut)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-ended; err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	w.Close()
}

// synced is a buffer for several goroutines.
type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// What an agent prints does nothing to a terminal.
func TestEscape(t *testing.T) {
	var out bytes.Buffer
	o := newOutputPrinter(&app{stdout: &out}, &logsCmd{Plain: true})
	o.escape = true
	var stored []byte
	for _, s := range []string{"\x1b]0;title\a\tok", "\u202eevil\u009b1m\r\x00\xff", "long ", "line", "end"} {
		tag := contracts.OutputText
		if s == "line" {
			tag = contracts.OutputRest
		}
		stored = append(append(contracts.AppendOutputPrefix(stored, time.Now(), tag), s...), '\n')
	}
	stored = append(contracts.AppendOutputPrefix(stored, time.Now(), contracts.OutputNote), " a remark\n"...)
	for i := range stored { // in any parts
		if err := o.write(part{data: stored[i : i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.flush(); err != nil {
		t.Fatal(err)
	}
	want := `\x1b]0;title\a` + "\tok\n" + `\u202eevil\u009b1m\r\x00\ufffd` + "\nlong line\nend\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
