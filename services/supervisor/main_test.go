package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// world is a server, a runner and a supervisor.
type world struct {
	t      *testing.T
	server *natstest.Server
	runner *runner
	file   *config.File
	nc     *nats.Conn
	js     jetstream.JetStream
	reg    *prometheus.Registry
	// health and ended are those of the latest supervisor.
	health *shell.Health
	ended  <-chan error
}

// inWorld runs a parallel test in virtual time, with a server, a runner and a
// configuration.
func inWorld(t *testing.T, yaml string, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) { test(t, newWorld(t, yaml)) })
}

func newWorld(t *testing.T, yaml string) *world {
	t.Helper()
	f := newFile(t, yaml)
	s := natstest.Start(t)
	nc := s.Connect(t)
	w := &world{t: t, server: s, file: f, nc: nc, js: natstest.JetStream(t, nc), reg: prometheus.NewRegistry()}
	natstest.Streams(t, w.js)
	w.runner = newRunner(t, s, "r1")
	return w
}

func newFile(t *testing.T, yaml string) *config.File {
	t.Helper()
	f, err := config.Parse("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// up runs supervisor s1 until its tree is settled; the runner's log begins after
// that.
func (w *world) up(change ...func(*Config)) (stop func()) {
	w.t.Helper()
	stop = w.supervise("s1", change...)
	w.settled()
	w.runner.takeLog()
	return stop
}

// supervise runs a supervisor until it is stopped, and returns when it serves.
func (w *world) supervise(name string, change ...func(*Config)) (stop func()) {
	w.t.Helper()
	env := newEnv(w.t, w.server.Connect(w.t), name, testLog(w.t), w.reg)
	cfg := FromFile(w.file)
	for _, f := range change {
		f(&cfg)
	}
	stop, w.ended = launch(w.t, env, cfg)
	w.health = env.Health
	return stop
}

// newEnv is what a supervisor runs in.
func newEnv(t testing.TB, nc *nats.Conn, name string, log *slog.Logger, reg prometheus.Registerer) shell.Env {
	t.Helper()
	env, err := shell.NewEnv(t.Context(), "supervisor", name, nc, log, reg, shell.NewHealth("supervisor"))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// launch runs a supervisor until it is stopped or the test ends, and returns when
// it serves. Its connection is closed with it.
func launch(t testing.TB, env shell.Env, cfg Config) (stop func(), ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		done <- Run(ctx, env, cfg)
		close(finished)
	}()
	stop = func() {
		cancel()
		<-finished
		env.NC.Close()
	}
	t.Cleanup(stop)
	for {
		ready, changed := env.Health.IsReady("supervisor")
		if ready {
			return stop, done
		}
		select {
		case <-changed:
		case <-finished:
			t.Fatalf("supervisor %s ended: %v", env.Instance, <-done)
		}
	}
}

// tree asks the supervisor for its tree.
func (w *world) tree() contracts.TreeReply {
	w.t.Helper()
	var err error
	for range 100 {
		var reply contracts.TreeReply
		if reply, err = ask[contracts.TreeReply](w, "tree", contracts.TreeRequest{}); err == nil {
			return reply
		}
		<-time.After(100 * time.Millisecond)
	}
	w.t.Fatal(err)
	return contracts.TreeReply{}
}

// statuses flattens a tree to "name status incarnation".
func statuses(n contracts.NodeView) []string {
	s := n.Name + " " + string(n.Status)
	if n.Kind == "agent" {
		s += fmt.Sprintf(" %d", n.Incarnation)
	}
	out := []string{s}
	for _, c := range n.Children {
		out = append(out, statuses(c)...)
	}
	return out
}

// settled waits until nothing of the tree is under way and gives the statuses.
func (w *world) settled() string {
	w.t.Helper()
	for range 600 {
		<-time.After(100 * time.Millisecond)
		all := statuses(w.tree().Root)
		moving := slices.ContainsFunc(all, func(s string) bool {
			return strings.Contains(s, " starting") || strings.Contains(s, " stopping") || strings.Contains(s, " restarting")
		})
		if !moving {
			return strings.Join(all, ", ")
		}
	}
	w.t.Fatalf("the tree never comes to rest: %v", statuses(w.tree().Root))
	return ""
}

func (w *world) want(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// wantSideBySide checks a runner's log that consists of sequences: each is in order,
// and they are in no order among themselves.
func (w *world) wantSideBySide(what, got string, sequences ...string) {
	w.t.Helper()
	left := slices.DeleteFunc(strings.Split(got, ", "), func(s string) bool { return s == "" })
	for _, sequence := range sequences {
		next := 0
		for _, step := range strings.Split(sequence, ", ") {
			i := slices.Index(left[next:], step)
			if i < 0 {
				w.t.Errorf("%s: in %s there is no %q in the order of %q", what, got, step, sequence)
				return
			}
			next += i
			left = slices.Delete(left, next, next+1)
		}
	}
	if len(left) > 0 {
		w.t.Errorf("%s: there is more than that: %v", what, left)
	}
}

// events is the event stream as it is now.
func (w *world) events() jetstream.Stream {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), contracts.EventStream)
	if err != nil {
		w.t.Fatal(err)
	}
	return stream
}

// decisions reads every decision in the log.
func (w *world) decisions() []contracts.DecisionsData {
	w.t.Helper()
	var out []contracts.DecisionsData
	for _, msg := range natstest.Messages(w.t, w.js, contracts.EventStream) {
		if !strings.HasPrefix(msg.Subject, "smith.event.tree.") {
			continue
		}
		ev, err := contracts.DecodeEvent(msg.Subject, msg.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		d, err := contracts.DecodeData[contracts.DecisionsData](ev)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// testLog shows what a supervisor logs when the test fails.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
