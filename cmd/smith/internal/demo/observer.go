package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// observer follows the event stream from its beginning: all that the demo
// claims, it read there.
type observer struct {
	mu      sync.Mutex
	changed chan struct{}
	events  []contracts.Event
	pids    map[string]process
	running map[string]verified
	tasks   map[string]*taskStory
	bad     []error
}

// process is the last start of an agent.
type process struct {
	incarnation uint64
	pid         int
}

// verified is an agent's last incarnation known to be running well.
type verified struct {
	incarnation uint64
	at          time.Time
}

type taskStory struct {
	completed  bool
	reassigned int
	holder     string
}

func newObserver() *observer {
	return &observer{
		changed: make(chan struct{}), pids: map[string]process{},
		running: map[string]verified{}, tasks: map[string]*taskStory{},
	}
}

func observe(ctx context.Context, js jetstream.JetStream) (*observer, func(), error) {
	o := newObserver()
	consumer, err := js.OrderedConsumer(ctx, contracts.EventStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, nil, fmt.Errorf("follow the events: %w", err)
	}
	following, err := consumer.Consume(func(msg jetstream.Msg) {
		o.see(contracts.DecodeEvent(msg.Subject(), msg.Data()))
	})
	if err != nil {
		return nil, nil, fmt.Errorf("follow the events: %w", err)
	}
	return o, func() { following.Stop(); <-following.Closed() }, nil
}

// see takes note of the next message of the stream, and tells who waits.
func (o *observer) see(ev contracts.Event, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.bad = append(o.bad, err)
		return
	}
	o.take(ev)
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *observer) take(ev contracts.Event) {
	o.events = append(o.events, ev)
	switch ev.Type {
	case contracts.AgentStarted:
		if d, err := contracts.DecodeData[contracts.AgentStartedData](ev); err == nil {
			o.pids[d.Agent] = process{d.Incarnation, d.PID}
		}
	case contracts.TreeDecided, contracts.TreeRollingStopped, contracts.TreeIsolated, contracts.TreeEscalated, contracts.TreeGaveUp:
		d, err := contracts.DecodeData[contracts.DecisionsData](ev)
		if err != nil {
			return
		}
		for _, x := range d.Effects {
			if x.Kind == "running" && x.Incarnation > 0 {
				o.running[x.Node] = verified{x.Incarnation, ev.Time}
			}
		}
	case contracts.TaskAssigned, contracts.TaskReassigned:
		if d, err := contracts.DecodeData[contracts.TaskAssignedData](ev); err == nil {
			s := o.task(d.Task)
			s.holder = d.Agent
			if ev.Type == contracts.TaskReassigned {
				s.reassigned++
			}
		}
	case contracts.TaskCompleted:
		if d, err := contracts.DecodeData[contracts.TaskResultData](ev); err == nil {
			s := o.task(d.Task)
			s.completed, s.holder = true, ""
		}
	}
}

func (o *observer) task(id string) *taskStory {
	s := o.tasks[id]
	if s == nil {
		s = &taskStory{}
		o.tasks[id] = s
	}
	return s
}

// until waits for a condition on what was observed.
func (o *observer) until(ctx context.Context, cond func() bool) error {
	for {
		o.mu.Lock()
		done, changed := cond(), o.changed
		o.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// incarnations are those that are running well.
func (o *observer) incarnations() map[string]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]uint64{}
	for agent, v := range o.running {
		out[agent] = v.incarnation
	}
	return out
}

func (o *observer) pid(agent string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pids[agent].pid
}

// holder names an agent among the given that holds at least min of some tasks.
func (o *observer) holder(among []string, min int, of map[string]bool) (agent string, tasks int) {
	held := map[string]int{}
	for id, s := range o.tasks {
		if s.holder != "" && of[id] {
			held[s.holder]++
		}
	}
	for _, a := range among {
		if held[a] >= min {
			return a, held[a]
		}
	}
	return "", 0
}

// failure is the first failure event of an incarnation.
func (o *observer) failure(agent string, incarnation uint64) (contracts.Event, contracts.AgentFailedData, bool) {
	for _, ev := range o.events {
		if ev.Type != contracts.AgentFailed || ev.Entity != agent {
			continue
		}
		if d, err := contracts.DecodeData[contracts.AgentFailedData](ev); err == nil && d.Incarnation == incarnation {
			return ev, d, true
		}
	}
	return contracts.Event{}, contracts.AgentFailedData{}, false
}

// saw tells whether an event of a type came since a time.
func (o *observer) saw(t contracts.EventType, since time.Time) bool {
	for i := len(o.events) - 1; i >= 0 && o.events[i].Time.After(since); i-- {
		if o.events[i].Type == t {
			return true
		}
	}
	return false
}

// telling says which effects are worth a word in the table.
func telling(kind string) bool {
	switch kind {
	case "stop", "start", "escalate", "give_up", "terminate":
		return true
	}
	return false
}

// decided is what the tree's decisions since a time ordered, in order: "stop a;
// start a, b".
func (o *observer) decided(since time.Time) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var words []string
	last := ""
	for _, ev := range o.events {
		if ev.Type.Family() != contracts.FamilyTree || ev.Time.Before(since) {
			continue
		}
		d, err := contracts.DecodeData[contracts.DecisionsData](ev)
		if err != nil {
			continue
		}
		for _, x := range d.Effects {
			switch {
			case !telling(x.Kind):
			case x.Kind == last:
				words[len(words)-1] += ", " + x.Node
			default:
				words = append(words, strings.ReplaceAll(x.Kind, "_", " ")+" "+x.Node)
				last = x.Kind
			}
		}
	}
	return strings.Join(words, "; ")
}

// takenFrom counts the tasks reassigned from an agent since a time. The caller
// has the lock.
func (o *observer) takenFrom(agent string, since time.Time) int {
	n := 0
	for _, ev := range o.events {
		if ev.Type != contracts.TaskReassigned || ev.Time.Before(since) {
			continue
		}
		if d, err := contracts.DecodeData[contracts.TaskAssignedData](ev); err == nil && d.PreviousAgent == agent {
			n++
		}
	}
	return n
}
