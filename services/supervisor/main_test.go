package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
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

// runner speaks the wire protocol of a runner and of the agents it "runs". It
// keeps a runner's promises and fails the test when it is asked to break one.
type runner struct {
	t    *testing.T
	name string
	nc   *nats.Conn
	js   jetstream.JetStream

	mu   sync.Mutex
	live map[string]uint64
	seen map[string]uint64
	envs map[string]map[string]string
	// log records starts, stops and exits in order, as "start w1 3".
	log []string
	// broken agents cannot be started, mute ones never beat, slow ones take
	// as long to stop as it says.
	broken, mute map[string]bool
	slow         map[string]time.Duration
	pid          int
	// away, it neither announces itself nor hears anything; cut off, its
	// agents do not beat either.
	away, cutOff bool
	boot         string
	// mum, it does what it is told and does not announce itself.
	mum   bool
	fence uint64
}

func newRunner(t *testing.T, s *natstest.Server, name string) *runner {
	nc := s.Connect(t)
	r := &runner{
		t: t, name: name, nc: nc, js: natstest.JetStream(t, nc), live: map[string]uint64{}, seen: map[string]uint64{}, envs: map[string]map[string]string{},
		broken: map[string]bool{}, mute: map[string]bool{}, slow: map[string]time.Duration{},
	}
	r.serve("start", r.start)
	r.serve("stop", r.stop)
	r.serveList()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go r.beat(ctx)
	return r
}

func (r *runner) serve(verb string, handle func([]byte) contracts.RunnerReply) {
	_, err := r.nc.Subscribe(contracts.RunnerSubject(r.name, verb), func(m *nats.Msg) {
		if r.isAway() {
			return
		}
		go func() {
			raw, _ := json.Marshal(handle(m.Data))
			_ = m.Respond(raw)
		}()
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *runner) serveList() {
	_, err := r.nc.Subscribe(contracts.RunnerSubject(r.name, "list"), func(m *nats.Msg) {
		list := contracts.RunnerList{Runner: r.name}
		if r.isAway() {
			return
		}
		var cmd contracts.ListCommand
		_ = json.Unmarshal(m.Data, &cmd)
		r.mu.Lock()
		r.fence = max(r.fence, cmd.Decision)
		for agent, inc := range r.live {
			list.Agents = append(list.Agents, contracts.RunnerAgent{Agent: agent, Incarnation: inc, State: "running"})
		}
		r.mu.Unlock()
		raw, _ := json.Marshal(list)
		_ = m.Respond(raw)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *runner) isAway() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

// beat announces the runner and beats for every agent that lives and is not
// mute, once a second.
func (r *runner) beat(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		raw, _ := json.Marshal(contracts.RunnerAnnouncement{Runner: r.name, Session: "s", BootID: r.boot, Kind: "process", Capacity: 1000, Started: time.Now()})
		if !r.away && !r.mum {
			_ = r.nc.Publish(contracts.AnnounceSubject(r.name), raw)
		}
		for agent, inc := range r.live {
			r.beatOnce(agent, inc)
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (r *runner) beatOnce(agent string, inc uint64) {
	if !r.mute[agent] && !r.cutOff {
		raw, _ := json.Marshal(contracts.Heartbeat{Incarnation: inc, Status: contracts.StatusRunning})
		_ = r.nc.Publish(contracts.HeartbeatSubject(agent), raw)
	}
}

func (r *runner) start(body []byte) contracts.RunnerReply {
	var cmd contracts.StartCommand
	if err := json.Unmarshal(body, &cmd); err != nil || cmd.Validate() != nil {
		r.t.Errorf("runner %s: bad start %s: %v, %v", r.name, body, err, cmd.Validate())
		return contracts.RunnerReply{Code: contracts.RunnerInvalid}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	reply := contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation}
	switch {
	case cmd.BootID != "" && cmd.BootID != r.boot, cmd.Decision < r.fence:
		r.log = append(r.log, fmt.Sprintf("refused %s %d", cmd.Agent, cmd.Incarnation))
		reply.Code = contracts.RunnerFenced
		return reply
	case r.live[cmd.Agent] == cmd.Incarnation:
		return reply
	case r.live[cmd.Agent] != 0:
		r.t.Errorf("%s: start of incarnation %d while %d lives", cmd.Agent, cmd.Incarnation, r.live[cmd.Agent])
		reply.Code, reply.Incarnation = contracts.RunnerStillRunning, r.live[cmd.Agent]
		return reply
	case r.seen[cmd.Agent] > cmd.Incarnation:
		reply.Code = contracts.RunnerStale
		return reply
	case r.seen[cmd.Agent] == cmd.Incarnation:
		reply.Code = contracts.RunnerAlreadyExited
		return reply
	case r.broken[cmd.Agent]:
		r.log = append(r.log, fmt.Sprintf("broken %s", cmd.Agent))
		reply.Code, reply.Error = contracts.RunnerStartFailed, "no such program"
		return reply
	}
	r.live[cmd.Agent], r.seen[cmd.Agent] = cmd.Incarnation, cmd.Incarnation
	r.envs[cmd.Agent] = cmd.Env
	r.pid++
	reply.PID = r.pid
	r.log = append(r.log, fmt.Sprintf("start %s %d", cmd.Agent, cmd.Incarnation))
	r.beatOnce(cmd.Agent, cmd.Incarnation)
	return reply
}

func (r *runner) stop(body []byte) contracts.RunnerReply {
	var cmd contracts.StopCommand
	if err := json.Unmarshal(body, &cmd); err != nil || cmd.Validate() != nil {
		r.t.Errorf("runner %s: bad stop %s: %v, %v", r.name, body, err, cmd.Validate())
	}
	r.mu.Lock()
	slow := r.slow[cmd.Agent]
	r.mu.Unlock()
	killed := cmd.Kill
	if !cmd.Kill && slow > 0 {
		killed = cmd.Timeout > 0 && slow > cmd.Timeout.D()
		if killed {
			slow = cmd.Timeout.D()
		}
		<-time.After(slow)
	}
	r.mu.Lock()
	inc := r.live[cmd.Agent]
	ends := inc > 0 && inc <= cmd.Incarnation
	if ends {
		delete(r.live, cmd.Agent)
		word := "stop"
		if killed {
			word = "kill"
		}
		r.log = append(r.log, fmt.Sprintf("%s %s %d", word, cmd.Agent, inc))
	}
	r.seen[cmd.Agent] = max(r.seen[cmd.Agent], cmd.Incarnation)
	r.mu.Unlock()
	if ends {
		r.tellStopped(cmd.Agent, inc)
	}
	return contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation}
}

// exit ends an agent's process and stores the event that says so.
func (r *runner) exit(agent string, code int) contracts.Event {
	r.mu.Lock()
	inc := r.live[agent]
	delete(r.live, agent)
	r.log = append(r.log, fmt.Sprintf("exit %s %d", agent, inc))
	r.mu.Unlock()
	kind, data := contracts.AgentFailed, any(contracts.AgentFailedData{
		Agent: agent, Incarnation: inc, Runner: r.name,
		Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: code, At: time.Now()},
	})
	if code == 0 {
		kind, data = contracts.AgentStopped, contracts.AgentStoppedData{Agent: agent, Incarnation: inc, Reason: contracts.StopReason("completed")}
	}
	return r.store(kind, agent, data)
}

// silent stores the detector's verdict on an agent, which stays alive.
func (r *runner) silent(agent string) contracts.Event {
	return r.store(contracts.AgentFailed, agent, contracts.AgentFailedData{
		Agent: agent, Incarnation: r.incarnation(agent), Reason: contracts.ReasonHeartbeatTimeout, Detail: "phi 9.1",
	})
}

// tellStopped stores the end that was ordered, over outages of NATS.
func (r *runner) tellStopped(agent string, inc uint64) {
	ev, err := contracts.NewEvent("runner/"+r.name, contracts.AgentStopped, agent, time.Now()).
		Data(contracts.AgentStoppedData{Agent: agent, Incarnation: inc, Reason: "requested"}).Build()
	if err != nil {
		r.t.Error(err)
		return
	}
	for range 100 {
		if _, err = shell.PublishEvent(context.Background(), r.js, ev); err == nil || r.nc.IsClosed() {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	r.t.Error(err)
}

func (r *runner) store(kind contracts.EventType, agent string, data any) contracts.Event {
	r.t.Helper()
	ev, err := contracts.NewEvent("runner/"+r.name, kind, agent, time.Now()).Data(data).Build()
	if err == nil {
		_, err = shell.PublishEvent(context.Background(), r.js, ev)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return ev
}

func (r *runner) incarnation(agent string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[agent]
}

// takeLog gives what happened since it was last called.
func (r *runner) takeLog() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := strings.Join(r.log, ", ")
	r.log = nil
	return out
}

// sortedLog is takeLog for what happens in no particular order.
func (r *runner) sortedLog() string {
	log := strings.Split(r.takeLog(), ", ")
	slices.Sort(log)
	return strings.Join(log, ", ")
}

func (r *runner) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// world is a server, a runner and a supervisor.
type world struct {
	t      *testing.T
	server *natstest.Server
	runner *runner
	file   *config.File
	nc     *nats.Conn
	js     jetstream.JetStream
	reg    *prometheus.Registry
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

// supervise runs a supervisor until the function it gives is called; that is
// as sudden as a kill, since the connection is closed first.
func (w *world) supervise(name string, change ...func(*Config)) (stop func(), ended <-chan error) {
	w.t.Helper()
	nc := w.server.Connect(w.t)
	health := shell.NewHealth("supervisor")
	env, err := shell.NewEnv(w.t.Context(), "supervisor", name, nc, testLog(w.t), w.reg, health)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := FromFile(w.file)
	for _, f := range change {
		f(&cfg)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		done <- Run(ctx, env, cfg)
		close(finished)
	}()
	stop = func() {
		cancel()
		<-finished
		nc.Close()
	}
	w.t.Cleanup(stop)
	for {
		ready, changed := health.IsReady("supervisor")
		if ready {
			return stop, done
		}
		select {
		case <-changed:
		case <-finished:
			w.t.Fatalf("supervisor %s ended: %v", name, <-done)
		}
	}
}

// tree asks the supervisor for its tree.
func (w *world) tree() contracts.TreeReply {
	w.t.Helper()
	var err error
	for range 100 {
		var reply contracts.TreeReply
		if reply, err = shell.Call[contracts.TreeReply](w.t.Context(), w.nc, "smith.supervisor.tree", contracts.TreeRequest{}); err == nil {
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

// decisions reads every decision in the log.
func (w *world) decisions() []contracts.DecisionsData {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), contracts.EventStream)
	if err != nil {
		w.t.Fatal(err)
	}
	info, err := stream.Info(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var out []contracts.DecisionsData
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
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
