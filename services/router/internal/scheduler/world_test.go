package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// world is everything around a scheduler: agents as processes, the queue, and
// the log with a reader that lags. It checks the promises at every step.
type world struct {
	t   *rapid.T
	now time.Time
	cfg Config
	s   *Scheduler

	procs  []*process
	queue  []Task          // every message not taken off
	held   map[uint64]bool // messages in the router's hands, by sequence
	seq    uint64
	steps  int
	log    []Input // index i has sequence i+1
	cursor int     // how much of the log was read
	kept   Snapshot
	keptAt int // cursor of kept

	appends    []Assign
	dispatches []Dispatch
	submitted  map[string]bool
	ended      map[string]Outcome
}

type process struct {
	id, kind    string
	capacity    int
	incarnation uint64
	alive       bool
	working     map[string]int // task → attempt
	seen        map[string]int // task → last attempt it was given
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: time.Unix(1e9, 0), held: map[uint64]bool{},
		submitted: map[string]bool{}, ended: map[string]Outcome{},
		cfg: Config{MaxAttempts: 1000},
	}
	w.s = New(w.cfg, w.now)
	for i, kind := range []string{"researcher", "researcher", "coder", "translate"} {
		p := &process{id: fmt.Sprintf("a%d", i), kind: kind, capacity: 1 + i%3, working: map[string]int{}, seen: map[string]int{}}
		w.procs = append(w.procs, p)
		w.start(p)
	}
	return w
}

func (w *world) step(in Input) {
	w.steps++
	for _, e := range slices.Clone(w.s.Step(w.now, in)) {
		switch e := e.(type) {
		case Assign:
			w.appends = append(w.appends, e)
		case Dispatch:
			w.dispatches = append(w.dispatches, e)
		case Complete:
			w.end(e.Task, Completed)
		case DeadLetter:
			w.end(e.Task, DeadLettered)
			w.log = append(w.log, TaskDeadLettered{ID: e.Task, Type: e.Type, Reason: e.Reason, Logged: uint64(len(w.log) + 1)})
		case Discard:
			w.takeOff(e.Task, e.Sequence)
		}
	}
	for _, a := range w.s.agents {
		if a.ready() && len(a.tasks) > max(1, a.capacity) {
			w.t.Fatalf("%s has %d tasks, its capacity is %d", a.id, len(a.tasks), a.capacity)
		}
		want := max(0, max(1, a.capacity)-len(a.tasks))
		if a.ready() && a.free() != want {
			w.t.Fatalf("%s: free %d, want %d", a.id, a.free(), want)
		}
	}
	for _, ty := range w.s.types {
		free, live := 0, 0
		for _, a := range ty.agents {
			free += a.free()
			if a.alive() {
				live++
			}
		}
		if free != ty.free || live != ty.live {
			w.t.Fatalf("type %s: room %d and %d alive, counted %d and %d", ty.name, ty.free, ty.live, free, live)
		}
		if len(ty.queue) > 0 && w.s.room(ty, w.now) > 0 {
			w.t.Fatalf("type %s: %d wait though there is room", ty.name, len(ty.queue))
		}
	}
}

func (w *world) end(id string, o Outcome) {
	w.ended[id] = o
	for _, m := range w.queue {
		if m.ID == id && w.held[m.Sequence] {
			w.takeOff(id, m.Sequence)
			w.step2(Settled{ID: id})
			return
		}
	}
}

// step2 is for inputs from within step; they must have no effects.
func (w *world) step2(in Input) { in.apply(w.s, w.now) }

func (w *world) takeOff(id string, seq uint64) {
	w.queue = slices.DeleteFunc(w.queue, func(m Task) bool { return m.ID == id && m.Sequence == seq })
	delete(w.held, seq)
}

func (w *world) submit(id, kind string) {
	w.seq++
	seq := w.seq
	w.submitted[id] = true
	w.queue = append(w.queue, Task{ID: id, Type: kind, Sequence: seq, Submitted: w.now})
	w.log = append(w.log, TaskQueued{ID: id, Type: kind, Sequence: seq})
}

func (w *world) fetch() {
	for _, m := range w.queue {
		if !w.held[m.Sequence] && w.s.Room(m.Type, w.now)+w.s.Missing(m.Type) > 0 {
			w.held[m.Sequence] = true
			w.step(TaskArrived{m})
			return
		}
	}
}

func (w *world) start(p *process) {
	p.incarnation++
	p.alive = true
	clear(p.seen)
	w.log = append(w.log, AgentUp{Agent: p.id, Incarnation: p.incarnation, Type: p.kind, Capacity: p.capacity})
}

func (w *world) crash(p *process) {
	p.alive = false
	clear(p.working)
	w.log = append(w.log, AgentDown{Agent: p.id, Incarnation: p.incarnation, Exited: true})
}

func (w *world) beat(p *process) {
	w.step(Beat{Agent: p.id, Incarnation: p.incarnation, Type: p.kind, Capacity: p.capacity})
}

func (w *world) read() {
	if w.cursor == len(w.log) {
		return
	}
	in := w.log[w.cursor]
	w.cursor++
	w.step(in)
}

func (w *world) appendOne() {
	if len(w.appends) == 0 {
		return
	}
	a := w.appends[0]
	w.appends = w.appends[1:]
	for i, in := range w.log {
		stored, ok := in.(TaskAssigned)
		if ok && stored.Task == a.Task && stored.Number == a.Number { // the log de-duplicates
			if stored.Agent == a.Agent && stored.Incarnation == a.Incarnation {
				w.step(Appended{Task: a.Task, Number: a.Number, Logged: uint64(i + 1)})
			}
			return
		}
	}
	seq := uint64(len(w.log) + 1)
	w.log = append(w.log, TaskAssigned{Attempt: a.Attempt, Logged: seq, At: w.now})
	w.step(Appended{Task: a.Task, Number: a.Number, Logged: seq})
}

func (w *world) dispatchOne() {
	if len(w.dispatches) == 0 {
		return
	}
	d := w.dispatches[0]
	w.dispatches = w.dispatches[1:]
	p := w.proc(d.Agent)
	switch {
	case !p.alive:
		w.step(Unreached{Task: d.Task, Number: d.Number, NoResponders: true})
	case p.incarnation != d.Incarnation:
		w.step(Rejected{Task: d.Task, Number: d.Number, Stale: true, Reason: "stale_incarnation"})
	case p.seen[d.Task] >= d.Number:
		w.step(Accepted{Task: d.Task, Number: d.Number})
	default:
		for _, o := range w.procs {
			if n, has := o.working[d.Task]; has && o.alive {
				w.t.Fatalf("%s gets attempt %d of %s while %s works on attempt %d", p.id, d.Number, d.Task, o.id, n)
			}
		}
		if len(p.working) >= p.capacity {
			if w.superseded(p) {
				w.step(Rejected{Task: d.Task, Number: d.Number, Reason: "full"})
				return
			}
			w.t.Fatalf("%s has %d tasks and gets one more", p.id, len(p.working))
		}
		p.working[d.Task], p.seen[d.Task] = d.Number, d.Number
		w.step(Accepted{Task: d.Task, Number: d.Number})
	}
}

// superseded tells whether the agent works on an attempt that the router has
// given up, or whose task an earlier attempt has ended.
func (w *world) superseded(p *process) bool {
	for id, n := range p.working {
		t := w.s.tasks[id]
		if t == nil || t.state != assigned || t.attempt != n || t.agent.id != p.id {
			return true
		}
	}
	return false
}

func (w *world) finish(p *process, failed bool) {
	ids := make([]string, 0, len(p.working))
	for id := range p.working {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	n := p.working[ids[0]]
	delete(p.working, ids[0])
	w.log = append(w.log, TaskResult{
		Task: ids[0], Agent: p.id, Incarnation: p.incarnation, Number: n,
		Failed: failed, Retry: true, Logged: uint64(len(w.log) + 1),
	})
}

func (w *world) proc(id string) *process {
	for _, p := range w.procs {
		if p.id == id {
			return p
		}
	}
	return nil
}

// restart loses everything but the kept snapshot, the log and the queue.
// Appends under way may still arrive.
func (w *world) restart() {
	w.s = Restore(w.cfg, w.kept, w.now)
	w.cursor = w.keptAt
	w.dispatches = nil
	clear(w.held)
	if len(w.appends) > 0 && rapid.Bool().Draw(w.t, "append arrives") {
		a := w.appends[0]
		known := slices.ContainsFunc(w.log, func(in Input) bool {
			s, ok := in.(TaskAssigned)
			return ok && s.Task == a.Task && s.Number == a.Number
		})
		if !known {
			w.log = append(w.log, TaskAssigned{Attempt: a.Attempt, Logged: uint64(len(w.log) + 1), At: w.now})
		}
	}
	w.appends = nil
	for w.cursor < len(w.log) { // the shell folds the log before it serves
		w.read()
	}
}

// settle lets everything run until nothing is open.
func (w *world) settle() {
	for range 5000 {
		for _, p := range w.procs {
			if !p.alive {
				w.start(p)
			}
			w.beat(p)
			w.finish(p, false)
		}
		for w.cursor < len(w.log) {
			w.read()
		}
		for range len(w.queue) {
			w.fetch()
		}
		for len(w.appends) > 0 {
			w.appendOne()
		}
		for len(w.dispatches) > 0 {
			w.dispatchOne()
		}
		w.now = w.now.Add(time.Second)
		w.step(Tick{})
		if len(w.queue) == 0 && len(w.s.tasks) == 0 && w.cursor == len(w.log) {
			return
		}
	}
	for _, t := range w.s.tasks {
		w.t.Logf("%+v", t)
	}
	w.t.Fatalf("%d messages and %d tasks are still open", len(w.queue), len(w.s.tasks))
}

func TestNothingLostNothingTwice(t *testing.T) {
	t.Parallel()
	steps := 0
	defer func() { t.Logf("%d steps", steps) }()
	property.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		pick := func() *process { return w.procs[rapid.IntRange(0, len(w.procs)-1).Draw(t, "agent")] }
		t.Repeat(map[string]func(*rapid.T){
			"submit": func(t *rapid.T) {
				kind := rapid.SampledFrom([]string{"research", "code", "translate"}).Draw(t, "type")
				w.submit(fmt.Sprintf("t%d-%s", len(w.submitted), kind), kind)
			},
			"submit again": func(t *rapid.T) {
				if len(w.submitted) > 0 {
					for _, kind := range []string{"research", "code", "translate"} {
						if id := "t0-" + kind; w.submitted[id] {
							w.submit(id, kind)
						}
					}
				}
			},
			"fetch": func(*rapid.T) { w.fetch() },
			"pump": func(*rapid.T) {
				w.fetch()
				w.appendOne()
				w.dispatchOne()
			},
			"pump on": func(*rapid.T) {
				for range 3 {
					w.fetch()
					w.appendOne()
					w.dispatchOne()
				}
			},
			"everybody beats": func(*rapid.T) {
				for _, p := range w.procs {
					if p.alive {
						w.beat(p)
					}
				}
			},
			"append":   func(*rapid.T) { w.appendOne() },
			"dispatch": func(*rapid.T) { w.dispatchOne() },
			"read":     func(*rapid.T) { w.read() },
			"read on": func(*rapid.T) {
				for range 5 {
					w.read()
				}
			},
			"beat": func(*rapid.T) {
				if p := pick(); p.alive {
					w.beat(p)
				}
			},
			"finish": func(*rapid.T) { w.finish(pick(), false) },
			"fail":   func(*rapid.T) { w.finish(pick(), true) },
			"crash": func(*rapid.T) {
				if p := pick(); p.alive {
					w.crash(p)
				}
			},
			"start": func(*rapid.T) {
				if p := pick(); !p.alive {
					w.start(p)
				}
			},
			"time": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
				w.step(Tick{})
			},
			"keep":    func(*rapid.T) { w.kept, w.keptAt = w.s.Snapshot(), w.cursor },
			"restart": func(*rapid.T) { w.restart() },
		})
		steps += w.steps
		w.settle()
		for id := range w.submitted {
			if w.ended[id] != Completed {
				t.Fatalf("task %s ended as %q", id, w.ended[id])
			}
			if v, ok := w.s.Task(id); !ok || v.Status != string(Completed) {
				t.Fatalf("task %s is remembered as %+v", id, v)
			}
		}
		for _, a := range w.s.agents {
			if len(a.tasks) != 0 {
				t.Fatalf("%s still has %d tasks", a.id, len(a.tasks))
			}
		}
	})
}
