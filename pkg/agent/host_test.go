package agent_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

var errBoom = errors.New("boom")

// funcs are agents with every habit a host must bear.
func funcs() map[string]agent.Func {
	return map[string]agent.Func{
		"good": func(ctx context.Context, o agent.Options) error {
			o.Handle = func(context.Context, *agent.Task) (any, error) { return o.Args, nil }
			return agent.Run(ctx, o)
		},
		"obeying": func(ctx context.Context, _ agent.Options) error { <-ctx.Done(); return ctx.Err() },
		"short":   func(context.Context, agent.Options) error { return nil },
		"failing": func(context.Context, agent.Options) error { <-time.After(3 * time.Second); return errBoom },
		"panicky": func(context.Context, agent.Options) error { panic(strings.Repeat("panic ", 10_000)) },
		"labelled": func(ctx context.Context, _ agent.Options) error {
			if name, _ := pprof.Label(ctx, "agent"); name != "" {
				return errors.New("profiled as " + name)
			}
			return nil
		},
		"silent": func(ctx context.Context, _ agent.Options) error { <-ctx.Done(); return nil },
		"slow": func(ctx context.Context, _ agent.Options) error {
			<-ctx.Done()
			<-time.After(3 * time.Second)
			return nil
		},
		"deaf": func(context.Context, agent.Options) error { <-time.After(time.Hour); return nil },
	}
}

// host runs a host named h; the returned function ends it and gives its error.
func (w *world) host(change ...func(*agent.Host)) (end func() error) {
	w.t.Helper()
	h := agent.Host{
		Name: "h", Funcs: funcs(), URL: w.server.URL(), NATS: []nats.Option{nats.InProcessServer(w.server)}, Log: quiet(),
	}
	for _, f := range change {
		f(&h)
	}
	announcements := w.subscribe(contracts.AnnounceSubject(h.Name))
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	announcements.next(w.t)
	_ = announcements.Unsubscribe()
	w.t.Cleanup(cancel)
	return func() error {
		cancel()
		return <-ended
	}
}

func (w *world) start(name string, incarnation uint64, f string, more ...func(*contracts.StartCommand)) contracts.RunnerReply {
	w.t.Helper()
	cmd := contracts.StartCommand{
		Agent: name, Incarnation: incarnation, Command: []string{f, "-v"}, Type: "tester", Capacity: 1,
		HeartbeatInterval: contracts.Duration(time.Second), ShutdownTimeout: contracts.Duration(5 * time.Second),
		CausationID: contracts.DerivedID("decision"), CorrelationID: contracts.DerivedID("story"),
	}
	for _, f := range more {
		f(&cmd)
	}
	return ask[contracts.RunnerReply](w, contracts.RunnerSubject("h", "start"), cmd)
}

func (w *world) stop(name string, incarnation uint64, kill bool) contracts.RunnerReply {
	w.t.Helper()
	return ask[contracts.RunnerReply](w, contracts.RunnerSubject("h", "stop"), contracts.StopCommand{
		Agent: name, Incarnation: incarnation, Timeout: contracts.Duration(5 * time.Second), Kill: kill,
		CausationID: contracts.DerivedID("stop"), CorrelationID: contracts.DerivedID("story"),
	})
}

func (w *world) wantCode(what string, r contracts.RunnerReply, code contracts.RunnerCode) {
	w.t.Helper()
	if r.Code != code || (code == contracts.RunnerOK) != (r.Error == "") {
		w.t.Errorf("%s: %+v, want %s", what, r, code)
	}
}

func TestHostRunsAnAgent(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host()
		beats := w.subscribe(contracts.HeartbeatSubject("g1"))
		w.wantCode("start", w.start("g1", 3, "good"), contracts.RunnerOK)
		if h := beats.beat(t); h.Incarnation != 3 || h.Seq != 1 || h.Type != "tester" {
			t.Errorf("beat %+v", h)
		}
		w.wantCode("same start again", w.start("g1", 3, "good"), contracts.RunnerOK)
		w.wantCode("older start", w.start("g1", 2, "good"), contracts.RunnerStale)
		w.wantCode("newer start", w.start("g1", 4, "good"), contracts.RunnerStillRunning)
		if r := w.dispatch("g1", dispatchOf("t1", 1)); !r.Accepted {
			t.Errorf("task: %+v", r)
		}
		if got := data[contracts.TaskResultData](t, w.log("smith.event.task.completed.code", 1)[0]); string(got.Result) != `["-v"]` {
			t.Errorf("result %s", got.Result)
		}
		list := ask[contracts.RunnerList](w, contracts.RunnerSubject("h", "list"), nil)
		if len(list.Agents) != 1 || list.Agents[0].State != "running" || list.Agents[0].Incarnation != 3 {
			t.Errorf("list %+v", list)
		}

		ask[contracts.RunnerList](w, contracts.RunnerSubject("h", "list"), contracts.ListCommand{Term: 9})
		w.wantCode("start by one who knows less than whoever listed", w.start("g1", 3, "good", func(c *contracts.StartCommand) { c.Term = 8 }), contracts.RunnerFenced)
		w.wantCode("start by one who knows as much", w.start("g1", 3, "good", func(c *contracts.StartCommand) { c.Term = 9 }), contracts.RunnerOK)
		w.wantCode("stop of an older incarnation", w.stop("g1", 2, false), contracts.RunnerOK)
		beats.beat(t)
		r := w.stop("g1", 3, false)
		w.wantCode("stop", r, contracts.RunnerOK)
		if r.Exit == nil || r.Exit.Code != 0 {
			t.Errorf("stop: exit %+v", r.Exit)
		}
		w.wantCode("start of what has ended", w.start("g1", 3, "good"), contracts.RunnerAlreadyExited)

		started := w.log("smith.event.agent.started.g1", 1)[0]
		if d := data[contracts.AgentStartedData](t, started); d.Incarnation != 3 || d.Runner != "h" || d.Interval.D() != time.Second {
			t.Errorf("started %+v", d)
		}
		if started.CausationID != contracts.DerivedID("decision") || started.CorrelationID != contracts.DerivedID("story") || started.Source != "runner/h" {
			t.Errorf("started %+v", started)
		}
		stopped := w.log("smith.event.agent.stopped.g1", 1)[0]
		if d := data[contracts.AgentStoppedData](t, stopped); d.Reason != contracts.StopRequested || d.Incarnation != 3 {
			t.Errorf("stopped %+v", d)
		}
		if stopped.CausationID != contracts.DerivedID("stop") {
			t.Errorf("stopped %+v", stopped)
		}

		w.wantCode("next incarnation", w.start("g1", 4, "good"), contracts.RunnerOK)
		w.wantCode("one that returns an error when it is to end", w.start("g2", 1, "obeying"), contracts.RunnerOK)
		if err := end(); err != nil {
			t.Errorf("host: %v", err)
		}
		d := data[contracts.AgentFailedData](t, w.log("smith.event.agent.failed.g1", 1)[0])
		if d.Reason != contracts.ReasonHostLost || d.Incarnation != 4 {
			t.Errorf("at the host's end: %+v", d)
		}
		d = data[contracts.AgentFailedData](t, w.log("smith.event.agent.failed.g2", 1)[0])
		if d.Reason != contracts.ReasonHostLost || d.Exit.Blame != contracts.BlameHost || !strings.HasSuffix(d.Detail, "it returned: context canceled") {
			t.Errorf("at the host's end: %+v", d)
		}
	})
}

func TestHostReportsHowAgentsEnd(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host()
		for _, f := range []string{"short", "failing", "panicky"} {
			w.wantCode(f, w.start(f, 1, f), contracts.RunnerOK)
		}
		if d := data[contracts.AgentStoppedData](t, w.log("smith.event.agent.stopped.short", 1)[0]); d.Reason != contracts.StopCompleted || d.Exit.Code != 0 {
			t.Errorf("short: %+v", d)
		}
		if d := data[contracts.AgentFailedData](t, w.log("smith.event.agent.failed.failing", 1)[0]); d.Reason != contracts.ReasonExited || d.Detail != "boom" || d.Exit.Code != 1 || d.Exit.Tail != "boom" || d.Exit.Lived.D() != 3*time.Second {
			t.Errorf("failing: %+v", d)
		}
		w.start("labelled", 1, "labelled")
		if d := data[contracts.AgentFailedData](t, w.log("smith.event.agent.failed.labelled", 1)[0]); d.Detail != "profiled as labelled" {
			t.Errorf("%+v", d)
		}
		e := w.log("smith.event.agent.failed.panicky", 1)[0]
		d := data[contracts.AgentFailedData](t, e)
		if d.Reason != contracts.ReasonPanicked || d.Runner != "h" || d.Type != "tester" || len(d.Exit.Tail) > contracts.MaxOutputTail {
			t.Errorf("panicky: %+v", d)
		}
		if e.CorrelationID != e.ID {
			t.Errorf("a failure must begin its own story: %+v", e)
		}
		w.wantCode("the next one", w.start("panicky", 2, "good"), contracts.RunnerOK)
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// The environment of a hosted agent is that of a process: of its start, not of the
// program, which may be an agent itself.
func TestHostedEnvironment(t *testing.T) {
	for _, name := range []string{contracts.EnvAgent, contracts.EnvCapacity, contracts.EnvShutdownTimeout, "OTHER"} {
		t.Setenv(name, "the program's")
	}
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host(func(h *agent.Host) {
			h.Funcs["env"] = func(_ context.Context, o agent.Options) error {
				from, err := agent.FromEnv(o.Getenv)
				if err != nil {
					return err
				}
				return fmt.Errorf("%s#%d on %s, %s %s, capacity %d, every %s, drain %s, %s %s", from.Agent, from.Incarnation, o.Getenv(contracts.EnvRunner),
					from.Type, from.Capabilities, from.Capacity, from.HeartbeatInterval, from.DrainTimeout, o.Getenv("OWN"), o.Getenv("OTHER"))
			}
		})
		w.start("g1", 3, "env", func(c *contracts.StartCommand) {
			c.Capabilities, c.Capacity, c.Env, c.ShutdownTimeout = []string{"web", "pdf"}, 4, map[string]string{"OWN": "its own"}, 0
		})
		d := data[contracts.AgentFailedData](t, w.log("smith.event.agent.failed.g1", 1)[0])
		if d.Detail != "g1#3 on h, tester [web pdf], capacity 4, every 1s, drain 0s, its own the program's" {
			t.Error(d.Detail)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostShowsWhereItPanicked(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host(func(h *agent.Host) {
			h.Funcs["nil"] = func(context.Context, agent.Options) error { return explode(nil) }
		})
		w.start("g1", 1, "nil")
		d := data[contracts.AgentFailedData](t, w.log("smith.event.agent.failed.g1", 1)[0])
		if d.Reason != contracts.ReasonPanicked || !strings.Contains(d.Exit.Tail, "explode") || strings.Contains(d.Exit.Tail, "debug.Stack") || !strings.HasSuffix(d.Exit.Tail, d.Detail) || !strings.Contains(d.Detail, "nil pointer") {
			t.Errorf("%+v", d)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

//go:noinline
func explode(p *int) error { *p = 1; return nil }

func TestHostNeverStartsASecondCopy(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host()
		w.wantCode("start", w.start("g1", 1, "deaf"), contracts.RunnerOK)
		begin := time.Now()
		w.wantCode("stop", w.stop("g1", 1, false), contracts.RunnerNotStopped)
		if got := time.Since(begin).Round(time.Second); got != 6*time.Second {
			t.Errorf("answered after %s", got)
		}
		w.wantCode("kill", w.stop("g1", 1, true), contracts.RunnerNotStopped)
		w.wantCode("second copy", w.start("g1", 2, "deaf"), contracts.RunnerStillRunning)
		list := ask[contracts.RunnerList](w, contracts.RunnerSubject("h", "list"), nil)
		if len(list.Agents) != 1 || list.Agents[0].State != "stopping" {
			t.Errorf("list %+v", list)
		}
		if n := w.count("smith.event.agent.stopped.g1"); n != 0 {
			t.Error("reported as stopped though it still runs")
		}
		<-time.After(time.Hour)
		w.wantCode("when it has ended at last", w.start("g1", 2, "silent"), contracts.RunnerOK)
		if d := data[contracts.AgentStoppedData](t, w.log("smith.event.agent.stopped.g1", 1)[0]); d.Reason != contracts.StopRequested {
			t.Errorf("stopped %+v", d)
		}
		w.start("g2", 1, "deaf")
		if err := end(); !errors.Is(err, agent.ErrNotStopped) || !strings.Contains(err.Error(), "g2") || strings.Contains(err.Error(), "g1") {
			t.Errorf("host: %v", err)
		}
		<-time.After(time.Hour) // until g2 ends
	})
}

// TestHostListsMoreThanOneMessageHolds: a supervisor that gets no list gives the
// host nothing to do.
func TestHostListsMoreThanOneMessageHolds(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host()
		const agents = 3500
		name := func(i int) string { return fmt.Sprintf("%s-%05d", strings.Repeat("n", contracts.MaxIDLength-6), i) }
		for i := range agents {
			w.wantCode("start", w.start(name(i), 1, "short"), contracts.RunnerOK)
		}
		listed, pages := 0, 0
		for cmd, more := (contracts.ListCommand{}), true; more; pages++ {
			list := ask[contracts.RunnerList](w, contracts.RunnerSubject("h", "list"), cmd)
			if len(list.Agents) == 0 {
				t.Fatalf("nothing follows %q", cmd.After)
			}
			listed += len(list.Agents)
			cmd.After, more = list.Agents[len(list.Agents)-1].Agent, list.More
		}
		if listed != agents || pages != 2 {
			t.Errorf("%d agents in %d pages, want %d in 2", listed, pages, agents)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostStopsInParallel(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host()
		w.start("g1", 1, "slow")
		w.start("g2", 1, "slow")
		begin, replies := time.Now(), make(chan contracts.RunnerReply)
		for range 2 { // the same order twice is harmless
			for _, name := range []string{"g1", "g2"} {
				go func() { replies <- w.stop(name, 1, false) }()
			}
		}
		for range 4 {
			w.wantCode("stop", <-replies, contracts.RunnerOK)
		}
		if got := time.Since(begin).Round(100 * time.Millisecond); got != 3*time.Second {
			t.Errorf("four stops took %s", got)
		}
		w.log("smith.event.agent.stopped.*", 2)
		if n := w.count("smith.event.agent.*.g1"); n != 2 {
			t.Errorf("%d events about g1, want started and stopped", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostRefuses(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host(func(h *agent.Host) { h.Capacity = 1 })
		start := contracts.RunnerSubject("h", "start")
		w.wantCode("gibberish", ask[contracts.RunnerReply](w, start, "x"), contracts.RunnerInvalid)
		w.wantCode("no agent", ask[contracts.RunnerReply](w, start, contracts.StartCommand{}), contracts.RunnerInvalid)
		w.wantCode("null", ask[contracts.RunnerReply](w, start, nil), contracts.RunnerInvalid)
		w.wantCode("huge", ask[contracts.RunnerReply](w, start, strings.Repeat("x", contracts.MaxRequestBytes)), contracts.RunnerInvalid)
		w.wantCode("interval of 1 ns", w.start("g1", 1, "good", func(c *contracts.StartCommand) { c.HeartbeatInterval = 1 }), contracts.RunnerInvalid)
		w.wantCode("stop without incarnation", w.stop("g1", 0, false), contracts.RunnerInvalid)
		r := w.start("g1", 1, "unheard")
		w.wantCode("unknown function", r, contracts.RunnerStartFailed)
		if !strings.Contains(r.Error, "deaf, failing, good") {
			t.Errorf("does not say what there is: %s", r.Error)
		}
		for setting, set := range map[string]func(*contracts.StartCommand){
			"dir":         func(c *contracts.StartCommand) { c.Dir = "/tmp" },
			"env_file":    func(c *contracts.StartCommand) { c.EnvFile = "/etc/env" },
			"group":       func(c *contracts.StartCommand) { c.Group = "nogroup" },
			"health.tcp":  func(c *contracts.StartCommand) { c.Health = &contracts.HealthSpec{TCP: "127.0.0.1:1"} },
			"health.http": func(c *contracts.StartCommand) { c.Health = &contracts.HealthSpec{HTTP: "http://127.0.0.1:1"} },
			"health.command, health.max_memory": func(c *contracts.StartCommand) {
				c.Health = &contracts.HealthSpec{Command: []string{"true"}, MaxMemory: 1 << 30}
			},
			"limits":      func(c *contracts.StartCommand) { c.Limits = &contracts.ProcessLimits{OpenFiles: 9} },
			"output":      func(c *contracts.StartCommand) { c.Output = &contracts.OutputLimits{MaxBytes: 1 << 20} },
			"nice":        func(c *contracts.StartCommand) { c.Nice = new(int) },
			"pass_env":    func(c *contracts.StartCommand) { c.PassEnv = []string{"LANG"} },
			"stop_signal": func(c *contracts.StartCommand) { c.StopSignal = "SIGINT" },
			"umask":       func(c *contracts.StartCommand) { c.Umask = "0077" },
			"user":        func(c *contracts.StartCommand) { c.User = "nobody" },
			"dir, user":   func(c *contracts.StartCommand) { c.User, c.Dir = "nobody", "/tmp" },
		} {
			r = w.start("g1", 1, "good", set)
			if w.wantCode(setting, r, contracts.RunnerStartFailed); !strings.Contains(r.Error, "cannot give agent g1 "+setting+":") {
				t.Errorf("%s: does not say why: %s", setting, r.Error)
			}
		}
		plain := func(c *contracts.StartCommand) { c.StopSignal, c.Env = contracts.StopTERM, map[string]string{"A": "b"} }
		w.wantCode("what it can do", w.start("g0", 1, "short", plain), contracts.RunnerOK)
		w.log("smith.event.agent.stopped.g0", 1)
		referring := func(c *contracts.StartCommand) { c.Command[0], c.Expand = "${KIND:-silent}", true }
		w.wantCode("first", w.start("g1", 1, "", referring), contracts.RunnerOK)
		w.wantCode("over capacity", w.start("g2", 1, "silent"), contracts.RunnerFull)
		w.wantCode("stop of what never came", w.stop("g3", 5, false), contracts.RunnerOK)
		w.wantCode("its start, late", w.start("g3", 5, "silent"), contracts.RunnerAlreadyExited)
		w.wantCode("and an older one", w.start("g3", 4, "silent"), contracts.RunnerStale)
		if err := (agent.Host{Name: "h", Funcs: funcs(), URL: w.server.URL(), NATS: []nats.Option{nats.InProcessServer(w.server)}, Log: quiet()}).Run(t.Context()); !errors.Is(err, agent.ErrNameTaken) {
			t.Errorf("second host of the name: %v", err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostAnnouncesAndBeats(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host(func(h *agent.Host) { h.Labels = map[string]string{"zone": "a"} })
		announcements := w.subscribe(contracts.AnnounceWildcard)
		beats := w.subscribe(contracts.HeartbeatSubject("h"))
		w.start("g1", 1, "silent", func(c *contracts.StartCommand) { c.Heartbeats = contracts.HeartbeatsByRunner })
		own := w.subscribe(contracts.HeartbeatSubject("g1"))
		if h := own.beat(t); h.Incarnation != 1 || h.Interval.D() != time.Second || h.Runner != "h" {
			t.Errorf("beat on behalf of g1: %+v", h)
		}
		if h := beats.beat(t); h.Type != contracts.TypeRunner || h.Interval.D() != contracts.DefaultHeartbeatInterval {
			t.Errorf("beat %+v", h)
		}
		var last string
		begin := time.Now()
		for range 3 {
			last = string(announcements.next(t).Data)
		}
		if got := time.Since(begin); got > 4*time.Second {
			t.Errorf("three announcements took %s", got)
		}
		for _, s := range []string{`"kind":"goroutine"`, `"agents":1`, `"zone":"a"`, `"runner":"h"`, `"capacity":1000`} {
			if !strings.Contains(last, s) {
				t.Errorf("announcement %s has no %s", last, s)
			}
		}
		if d := data[contracts.AgentStartedData](t, w.log("smith.event.agent.started.g1", 1)[0]); d.Heartbeats != contracts.HeartbeatsByRunner {
			t.Errorf("started %+v", d)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		beats.beatWhere(t, is(contracts.StatusStopping))
		if h := beats.beat(t); h.Status != contracts.StatusStopped {
			t.Errorf("the last beat of a host: %+v", h)
		}
	})
}

func TestHostReportsAcrossAnOutage(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		fail := make(chan struct{})
		end := w.host(func(h *agent.Host) {
			h.Funcs["later"] = func(context.Context, agent.Options) error { <-fail; return errBoom }
		})
		w.start("g1", 1, "later")
		w.log("smith.event.agent.started.g1", 1)
		w.server.Down()
		close(fail)
		<-time.After(time.Minute)
		w.server.Up(t)
		w.log("smith.event.agent.failed.g1", 1)
		<-time.After(time.Minute)
		if n := w.count("smith.event.agent.failed.g1"); n != 1 {
			t.Errorf("reported %d times", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostValidate(t *testing.T) {
	err := (agent.Host{Name: "a.b", Funcs: map[string]agent.Func{"": nil}, Capacity: -1}).Run(t.Context())
	for _, s := range []string{"Agent", "Funcs[", "Capacity"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v: does not mention %s", err, s)
		}
	}
}
