package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// runnerMode makes the test binary a runner process of its own, connected to
// the server it names, with its state in runnerState.
const (
	runnerMode  = "RUNNER_TEST_SERVER"
	runnerState = "RUNNER_TEST_STATE"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(runnerMode); url != "" {
		nc, err := nats.Connect(url)
		if err == nil {
			err = runOn(context.Background(), nc, runner.Config{Name: "r1", StateDir: os.Getenv(runnerState)}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), nil)
		}
		panic(err) // it is only ever killed
	}
	natstest.Main(m)
}

func runOn(ctx context.Context, nc *nats.Conn, cfg runner.Config, log *slog.Logger, reg *prometheus.Registry, ready func()) error {
	health := shell.NewHealth(contracts.ServiceRunner)
	env, err := shell.NewEnv(ctx, contracts.ServiceRunner, "", nc, log, reg, health)
	if err != nil {
		return err
	}
	if ready != nil {
		waiting := make(chan struct{})
		defer func() { <-waiting }()
		ended, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(waiting)
			for {
				ok, changed := health.IsReady(contracts.ServiceRunner)
				if ok {
					ready()
					return
				}
				select {
				case <-changed:
				case <-ended.Done():
					return
				}
			}
		}()
	}
	return runner.Run(ctx, env, cfg)
}

const patience = time.Minute

// host is a runner and what a supervisor would use to talk to it.
type host struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	dir    string
	reg    *prometheus.Registry
}

// newHost has a server with streams but no runner yet. Agents still running at
// the end of the test are ended.
func newHost(t *testing.T) *host {
	h := &host{t: t, server: natstest.Listen(t), dir: t.TempDir(), reg: prometheus.NewRegistry()}
	h.nc = h.server.Connect(t)
	h.js = natstest.JetStream(t, h.nc)
	t.Cleanup(h.endAgents)
	return h
}

func (h *host) endAgents() {
	pattern := filepath.Join(h.dir, "agents", "*", "lock")
	locks, _ := filepath.Glob(pattern)
	left, _ := procfs.Holders(locks...)
	for _, p := range left {
		if proc, err := os.FindProcess(p.PID); err == nil {
			_ = proc.Kill()
		}
	}
}

func (h *host) config() runner.Config {
	return runner.Config{Name: "r1", StateDir: h.dir, WorkDir: h.dir}
}

// run runs a runner in this process; stop ends it and gives its error.
func (h *host) run(cfg runner.Config) (stop func() error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(h.t.Output(), nil))
	nc := h.server.Connect(h.t)
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- runOn(ctx, nc, cfg, log, h.reg, func() { close(ready) }) }()
	stop = sync.OnceValue(func() error {
		cancel()
		err := <-done
		nc.Close()
		return err
	})
	h.t.Cleanup(func() {
		if err := stop(); err != nil {
			h.t.Errorf("the runner ended with: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		h.t.Fatalf("the runner did not become ready: %v", err)
	}
	return stop
}

// refused runs a runner that must not become ready, and gives its error.
func (h *host) refused(cfg runner.Config) error {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	nc := h.server.Connect(h.t)
	err := runOn(ctx, nc, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() { cancel() })
	if errors.Is(ctx.Err(), context.Canceled) {
		h.t.Error("the runner became ready")
	}
	return err
}

// process runs a runner as a process of its own and waits until it answers;
// kill ends it with -9.
func (h *host) process() (kill func()) {
	h.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runnerMode+"="+h.server.URL(), runnerState+"="+h.dir)
	cmd.Stderr = h.t.Output()
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	h.t.Cleanup(kill)
	h.eventually("the runner process answers", func() bool {
		_, err := h.nc.Request(contracts.RunnerSubject("r1", "list"), nil, time.Second)
		return err == nil
	})
	return kill
}

func (h *host) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			h.t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// ask sends a command and decodes the answer.
func ask[Reply any](h *host, verb string, cmd any) Reply {
	h.t.Helper()
	body, ok := cmd.([]byte)
	if !ok {
		var err error
		if body, err = json.Marshal(cmd); err != nil {
			h.t.Fatal(err)
		}
	}
	msg, err := h.nc.Request(contracts.RunnerSubject("r1", verb), body, patience)
	if err != nil {
		h.t.Fatalf("%s: %v", verb, err)
	}
	var reply Reply
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		h.t.Fatalf("%s: answer %q: %v", verb, msg.Data, err)
	}
	return reply
}

func (h *host) mustStart(cmd contracts.StartCommand) contracts.RunnerReply {
	h.t.Helper()
	reply := ask[contracts.RunnerReply](h, "start", cmd)
	if reply.Code != contracts.RunnerOK || reply.PID == 0 {
		h.t.Fatalf("start %s: %+v", cmd.Agent, reply)
	}
	return reply
}

func (h *host) stop(agent string, incarnation uint64) contracts.RunnerReply {
	h.t.Helper()
	return ask[contracts.RunnerReply](h, "stop", contracts.StopCommand{Agent: agent, Incarnation: incarnation})
}

// stored waits for n events on a subject and gives all there are.
func (h *host) stored(subject string, n int) []contracts.Event {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	cons, err := h.js.OrderedConsumer(ctx, contracts.EventStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		h.t.Fatal(err)
	}
	var events []contracts.Event
	for len(events) < n {
		msg, err := cons.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			h.t.Fatalf("%d of %d events on %s: %v", len(events), n, subject, err)
		}
		ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
		if err != nil {
			h.t.Fatal(err)
		}
		events = append(events, ev)
	}
	for {
		msg, err := cons.Next(jetstream.FetchMaxWait(20 * time.Millisecond))
		if err != nil {
			return events
		}
		ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
		if err != nil {
			h.t.Fatal(err)
		}
		events = append(events, ev)
	}
}

func data[T any](t *testing.T, ev contracts.Event) T {
	t.Helper()
	v, err := contracts.DecodeData[T](ev)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func script(agent string, incarnation uint64, text string) contracts.StartCommand {
	return contracts.StartCommand{Agent: agent, Incarnation: incarnation, Command: []string{"/bin/sh", "-c", text}}
}

func alive(pid int) bool {
	s, err := procfs.ReadStat(pid)
	return err == nil && s.Alive()
}
