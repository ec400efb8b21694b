package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// runner speaks the wire protocol of a runner and of the agents it "runs". It
// keeps a runner's promises and fails the test when it is asked to break one.
type runner struct {
	t    *testing.T
	name string
	nc   *nats.Conn
	js   jetstream.JetStream
	// labels are announced.
	labels map[string]string

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
	// status is what agents say of themselves, running by default.
	status map[string]contracts.AgentStatus
	pid    int
	// away, it neither announces itself nor hears anything; cut off, its
	// agents do not beat either.
	away, cutOff bool
	boot         string
	// mum, it does what it is told and does not announce itself.
	mum   bool
	fence uint64
	// trees are those that agents were started for, and odd are entries of its
	// list as they stand.
	trees map[string]string
	odd   []string
	// starved, its host has nothing to start an agent with.
	starved bool
	lister
	// deathless agents do not end when they are killed, as a goroutine does not.
	deathless map[string]bool
}

// lister is how a runner answers requests for its list, one after another.
type lister struct {
	// page is how many entries a page has, 0 for all; lag is how long one takes.
	page int
	lag  time.Duration
	// ignored is how many requests are not answered before one is.
	ignored int
	// requests counts those for the list, in a row those not answered.
	requests, inRow int
}

// newRunner returns a runner with labels such as "zone=b".
func newRunner(t *testing.T, s *natstest.Server, name string, labels ...string) *runner {
	nc := s.Connect(t)
	r := &runner{
		t: t, name: name, nc: nc, js: natstest.JetStream(t, nc), live: map[string]uint64{}, seen: map[string]uint64{}, envs: map[string]map[string]string{},
		broken: map[string]bool{}, mute: map[string]bool{}, slow: map[string]time.Duration{}, status: map[string]contracts.AgentStatus{}, labels: map[string]string{},
		trees: map[string]string{},
	}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		r.labels[k] = v
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
		if r.isAway() || !r.answersList() {
			return
		}
		var cmd contracts.ListCommand
		_ = json.Unmarshal(m.Data, &cmd)
		<-time.After(r.lag)
		_ = m.Respond(r.list(cmd))
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// answersList counts a request for the list and reports whether it is answered.
func (r *runner) answersList() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	if r.inRow++; r.inRow <= r.ignored {
		return false
	}
	r.inRow = 0
	return true
}

func (r *runner) list(cmd contracts.ListCommand) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fence = max(r.fence, cmd.Term)
	list := contracts.RunnerList{Runner: r.name, Term: r.fence}
	for _, agent := range slices.Sorted(maps.Keys(r.live)) {
		if agent <= cmd.After {
			continue
		}
		if list.More = r.page > 0 && len(list.Agents) == r.page; list.More {
			break
		}
		list.Agents = append(list.Agents, contracts.RunnerAgent{Agent: agent, Incarnation: r.live[agent], State: contracts.AgentRunning, Tree: r.trees[agent]})
	}
	raw, _ := json.Marshal(list)
	for _, entry := range r.odd {
		raw = bytes.Replace(raw, []byte(`"agents":[`), []byte(`"agents":[`+entry+","), 1)
	}
	return raw
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
		raw, _ := json.Marshal(contracts.RunnerAnnouncement{Runner: r.name, Session: "s", BootID: r.boot, Kind: "process", Labels: r.labels, Capacity: 1000, Started: time.Now()})
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
		raw, _ := json.Marshal(contracts.Heartbeat{Incarnation: inc, Status: cmp.Or(r.status[agent], contracts.StatusRunning)})
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
	case cmd.BootID != "" && cmd.BootID != r.boot, cmd.Term < r.fence:
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
		reply.Code, reply.Incarnation, reply.Live = contracts.RunnerStale, r.seen[cmd.Agent], r.live[cmd.Agent] == r.seen[cmd.Agent]
		return reply
	case r.seen[cmd.Agent] == cmd.Incarnation:
		reply.Code = contracts.RunnerAlreadyExited
		return reply
	case r.starved:
		r.log = append(r.log, fmt.Sprintf("starved %s", cmd.Agent))
		reply.Code, reply.Error = contracts.RunnerNoResources, "too many open files"
		return reply
	case r.broken[cmd.Agent]:
		r.log = append(r.log, fmt.Sprintf("broken %s", cmd.Agent))
		reply.Code, reply.Error = contracts.RunnerStartFailed, "no such program"
		return reply
	}
	r.live[cmd.Agent], r.seen[cmd.Agent] = cmd.Incarnation, cmd.Incarnation
	r.envs[cmd.Agent], r.trees[cmd.Agent] = cmd.Env, cmd.Tree
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
	killed := cmd.Kill || r.linger(cmd)
	r.mu.Lock()
	inc := r.live[cmd.Agent]
	ends := inc > 0 && inc <= cmd.Incarnation
	if ends && r.deathless[cmd.Agent] {
		defer r.mu.Unlock()
		r.log = append(r.log, fmt.Sprintf("not stopped %s %d", cmd.Agent, inc))
		return contracts.RunnerReply{Code: contracts.RunnerNotStopped, Agent: cmd.Agent, Incarnation: inc, Error: "it does not end"}
	}
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

// linger waits for as long as the agent takes to stop, if it is not ended by
// another command meanwhile, and reports whether it has to be killed.
func (r *runner) linger(cmd contracts.StopCommand) (killed bool) {
	r.mu.Lock()
	slow, inc := r.slow[cmd.Agent], r.live[cmd.Agent]
	r.mu.Unlock()
	if inc == 0 {
		return false
	}
	if cmd.Timeout > 0 && slow > cmd.Timeout.D() {
		slow, killed = cmd.Timeout.D(), true
	}
	for end := time.Now().Add(slow); time.Now().Before(end) && r.incarnation(cmd.Agent) == inc; {
		<-time.After(min(10*time.Millisecond, time.Until(end)))
	}
	return killed
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

// takeLog returns what happened since it was last called.
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
