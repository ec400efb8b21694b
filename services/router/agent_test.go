package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// agent speaks the protocol by hand.
type agent struct {
	w           *world
	nc          *nats.Conn
	id, kind    string
	incarnation uint64
	capacity    int
	takes       time.Duration

	mu      sync.Mutex
	alive   bool
	stop    chan struct{}
	seen    map[string]int
	running map[string]int
	runs    []string // "task/attempt" in the order begun
	most    int      // the most it ever worked on at once
	answer  func(d contracts.TaskDispatch) (reply []byte, silent bool)
	result  func(d contracts.TaskDispatch) contracts.TaskResultData
	begins  func(task string)
}

func (w *world) agent(id, kind string, capacity int, takes time.Duration) *agent {
	a := &agent{
		w: w, nc: w.srv.Connect(w.t), id: id, kind: kind, capacity: capacity, takes: takes,
	}
	a.start()
	w.t.Cleanup(a.halt)
	return a
}

func (a *agent) start() {
	a.mu.Lock()
	a.incarnation++
	a.alive, a.stop = true, make(chan struct{})
	a.seen, a.running = map[string]int{}, map[string]int{}
	incarnation, stop := a.incarnation, a.stop
	a.mu.Unlock()
	a.w.event(contracts.AgentStarted, a.id, contracts.AgentStartedData{
		Agent: a.id, Incarnation: incarnation, Runner: "r", Type: a.kind, Capacity: a.capacity,
	})
	sub, err := a.nc.Subscribe(contracts.AgentTaskSubject(a.id), func(m *nats.Msg) { a.onTask(m, incarnation) })
	if err != nil {
		a.w.t.Fatal(err)
	}
	if err := a.nc.Flush(); err != nil {
		a.w.t.Fatal(err)
	}
	go func() {
		for {
			a.beat(incarnation)
			select {
			case <-stop:
				_ = sub.Unsubscribe()
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

func (a *agent) beat(incarnation uint64) {
	body, err := json.Marshal(contracts.Heartbeat{Incarnation: incarnation, Type: a.kind, Capacity: a.capacity})
	if err == nil {
		err = a.nc.Publish(contracts.HeartbeatSubject(a.id), body)
	}
	if err != nil {
		a.w.t.Logf("%s: heartbeat: %v", a.id, err)
	}
}

func (a *agent) onTask(m *nats.Msg, incarnation uint64) {
	var d contracts.TaskDispatch
	if err := json.Unmarshal(m.Data, &d); err != nil {
		a.w.t.Errorf("%s got %s: %v", a.id, m.Data, err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.alive || incarnation != a.incarnation {
		return
	}
	if a.answer != nil {
		if reply, silent := a.answer(d); reply != nil || silent {
			if !silent {
				_ = m.Respond(reply)
			}
			return
		}
	}
	reply := contracts.TaskReply{Accepted: true}
	switch {
	case d.Incarnation != incarnation:
		reply = contracts.TaskReply{Reason: "stale_incarnation"}
	case a.seen[d.Task] >= d.Attempt: // it has that one already
	case len(a.running) >= a.capacity:
		reply = contracts.TaskReply{Reason: "full"}
	default:
		a.seen[d.Task], a.running[d.Task] = d.Attempt, d.Attempt
		a.most = max(a.most, len(a.running))
		a.runs = append(a.runs, fmt.Sprintf("%s/%d", d.Task, d.Attempt))
		if a.begins != nil {
			a.begins(d.Task)
		}
		go a.work(d, a.stop)
	}
	body, _ := json.Marshal(reply)
	_ = m.Respond(body)
}

func (a *agent) work(d contracts.TaskDispatch, stop chan struct{}) {
	select {
	case <-stop:
		return
	case <-time.After(a.takes):
	}
	a.mu.Lock()
	delete(a.running, d.Task)
	a.mu.Unlock()
	res := contracts.TaskResultData{Result: json.RawMessage(`"done"`)}
	if a.result != nil {
		res = a.result(d)
	}
	res.Task, res.Type, res.Agent, res.Incarnation, res.Attempt = d.Task, d.Type, d.Agent, d.Incarnation, d.Attempt
	kind := contracts.TaskCompleted
	if res.Error != "" {
		kind = contracts.TaskFailed
	}
	ev, err := contracts.NewEvent("agent/"+a.id, kind, d.Type, time.Now()).Correlation(d.Task).Causation(d.CausationID).Data(res).Build()
	if err != nil {
		a.w.t.Errorf("result: %v", err)
		return
	}
	for { // until it is stored, as the protocol asks
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err = shell.PublishEvent(ctx, a.w.js, ev)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// halt stops the agent dead and says nothing.
func (a *agent) halt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alive {
		a.alive = false
		close(a.stop)
	}
}

// die is a crash that its runner reports.
func (a *agent) die() {
	a.halt()
	synctest.Wait()
	a.w.event(contracts.AgentFailed, a.id, contracts.AgentFailedData{
		Agent: a.id, Incarnation: a.incarnation, Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: -1, Signal: "SIGKILL"},
	})
}

func (a *agent) load() (running, most int, runs []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.running), a.most, append([]string(nil), a.runs...)
}
