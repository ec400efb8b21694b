package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// runner starts agents. Its ledger survives it, as do its agents.
type runner struct {
	w       *world
	i       int
	name    string
	r       stream
	up, cut bool
	// told is the highest term that it was told. It refuses starts of lower ones;
	// a runner that starts anew has forgotten it.
	told uint64
	// starved runners cannot start anything, for want of what their host should
	// have.
	starved bool
	// dead runners are gone with their host, mostly for good.
	dead bool
	life uint64
	// boot counts the boots of its host, from 1.
	boot int
	// heard is when it last announced itself, while it is unreachable; from is
	// since when it is reachable.
	heard, from tree.Instant
	ledger      map[string]*record
	order       []string
}

// record is what a runner's ledger holds of an agent.
type record struct {
	state       recordState
	incarnation uint64
	highest     uint64
	// stopped is the incarnation up to which it was ordered to stop.
	stopped uint64
	failed  uint64
	// declined is the incarnation that was not started for want of resources.
	declined uint64
	normal   bool
	// lost says that it ended with its host. withdrawn says that its runner ended it
	// without an order.
	lost, withdrawn bool
	process         *process
	outbox          []told
	// telling is set while the first of the outbox is on its way.
	telling bool
	// starting holds commands that came in the middle of a start, confirm the
	// stops that wait for the end.
	waiting []func()
	confirm []func()
}

// told is an event that waits for the log.
type told struct {
	id string
	in tree.Input
}

type recordState int

const (
	idle recordState = iota
	starting
	running
	exited
)

// Codes of a runner's answers.
const (
	codeOK           = "ok"
	codeStale        = "stale_incarnation"
	codeStillRunning = "still_running"
	codeExited       = "already_exited"
	codeFailed       = "start_failed"
	codeFenced       = "fenced"
	codeNoResources  = "no_resources"
)

type answer struct {
	code        string
	incarnation uint64
	// end is how an incarnation ended that has already.
	end  tree.HeldState
	live bool
}

func newRunner(w *world, i int) *runner {
	name := runnerName(i)
	return &runner{w: w, i: i, name: name, r: streamOf(w.Seed, name), up: true, boot: 1, from: w.now, ledger: map[string]*record{}}
}

func (r *runner) reachable() bool { return r.up && !r.cut }

func (r *runner) record(agent string) *record {
	rec := r.ledger[agent]
	if rec == nil {
		rec = &record{}
		r.ledger[agent] = rec
		r.order = append(r.order, agent)
	}
	return rec
}

// end is how the incarnation of a record ended.
func (rec *record) end() tree.HeldState {
	switch {
	case rec.lost || rec.stopped > 0:
		return tree.HeldEnded
	case rec.normal:
		return tree.HeldCompleted
	}
	return tree.HeldFailed
}

// start answers a start command.
func (r *runner) start(a *agent, n uint64, build string, boot int, term uint64, reply func(answer)) {
	if term < r.told {
		reply(answer{code: codeFenced})
		return
	}
	r.told = term
	if boot > 0 && boot != r.boot && r.w.opt.Break != NoBootFence {
		reply(answer{code: codeFenced})
		return
	}
	rec := r.record(a.name)
	if rec.state == starting {
		rec.waiting = append(rec.waiting, func() { r.start(a, n, build, boot, term, reply) })
		return
	}
	live, broken := rec.state == running, r.w.opt.Break
	switch {
	case live && n == rec.incarnation && broken != SecondCopy:
		reply(answer{code: codeOK})
		return
	case n < rec.highest && broken != NoFence:
		reply(answer{code: codeStale, incarnation: rec.highest, live: live})
		return
	case live && broken != SecondCopy:
		reply(answer{code: codeStillRunning, incarnation: rec.incarnation})
		return
	case rec.state == exited && n == rec.incarnation && broken != NoFence:
		reply(answer{code: codeExited, end: rec.end()})
		return
	case n <= rec.stopped && broken != StopForgotten && broken != NoFence:
		reply(answer{code: codeExited, end: tree.HeldEnded})
		return
	case n == rec.declined:
		reply(answer{code: codeNoResources})
		return
	case n == rec.failed && broken != RetriedFailure:
		reply(answer{code: codeFailed})
		return
	}
	if r.starved {
		rec.highest, rec.declined = max(rec.highest, n), n // and never will
		reply(answer{code: codeNoResources})
		return
	}
	rec.highest, rec.incarnation, rec.state, rec.stopped, rec.withdrawn, rec.process = max(rec.highest, n), n, starting, 0, false, nil
	life := r.life
	r.w.after(r.r.between(time.Millisecond, 15*time.Millisecond), func() {
		if r.life != life {
			return
		}
		if a.startFails() {
			a.own++
			rec.state, rec.failed = idle, n
			r.w.tell(r.name, "cannot start "+a.name)
			reply(answer{code: codeFailed})
		} else {
			rec.state = running
			rec.process = r.w.spawn(a, r, n, build)
			reply(answer{code: codeOK})
		}
		r.started(rec)
	})
}

// started deals with what came in the middle of a start.
func (r *runner) started(rec *record) {
	waiting := rec.waiting
	rec.waiting = nil
	for _, do := range waiting {
		do()
	}
}

// stop answers a stop command when the end is certain.
func (r *runner) stop(a *agent, n uint64, timeout time.Duration, kill bool, reply func(answer)) {
	rec := r.record(a.name)
	switch {
	case rec.state == starting:
		rec.waiting = append(rec.waiting, func() { r.stop(a, n, timeout, kill, reply) })
		return
	case rec.state != running:
		if n > rec.highest || n == rec.highest && rec.state == idle {
			rec.stopped, rec.highest = max(rec.stopped, n), max(rec.highest, n)
		}
		reply(answer{code: codeOK})
		return
	case rec.incarnation > n:
		reply(answer{code: codeOK})
		return
	}
	rec.stopped, rec.highest = max(rec.stopped, n), max(rec.highest, n)
	if r.w.opt.Break == EarlyConfirm {
		reply(answer{code: codeOK})
	} else {
		rec.confirm = append(rec.confirm, func() { reply(answer{code: codeOK}) })
	}
	rec.process.terminate(timeout, kill)
}

// ended records the end of a process, and tells.
func (r *runner) ended(rec *record, p *process, known bool) {
	if rec.process != p || rec.state != running {
		return
	}
	r.recordEnd(rec, p.agent.name, p.incarnation, p.normal && known)
	confirm := rec.confirm
	rec.confirm = nil
	for _, do := range confirm {
		do()
	}
}

func (r *runner) recordEnd(rec *record, agent string, n uint64, normal bool) {
	rec.state, rec.normal, rec.lost = exited, normal, false
	in := tree.Input{Kind: tree.Exited, Node: agent, Incarnation: n, Normal: normal, At: r.w.now, Reason: "exit"}
	withdrawn, broken := rec.withdrawn && rec.stopped == 0, r.w.opt.Break
	if withdrawn {
		r.w.agent(agent).withdrawn = n
	}
	switch {
	case rec.stopped > 0, withdrawn && broken == EndsAsOrdered:
		in.Normal, in.Requested, in.Reason = true, true, "requested"
	case withdrawn && normal && broken == CodeFirst:
	case broken != BlamesAgents && (rec.process == nil || rec.process.withHost || withdrawn):
		in.Kind, in.Normal, in.Reason, rec.lost = tree.Lost, false, "ended with its host", true // or its runner had not begun it
	}
	id := r.name + "." + agent + "." + strconv.FormatUint(n, 10)
	if rec.stopped == 0 {
		r.w.agent(agent).story.own[n] = id
	}
	rec.outbox = append(rec.outbox, told{id: id, in: in})
	r.publish(rec)
}

// publish tells the oldest event of an outbox until the log has it.
func (r *runner) publish(rec *record) {
	if rec.telling || len(rec.outbox) == 0 {
		return
	}
	rec.telling = true
	life, first := r.life, rec.outbox[0]
	open := true
	done := func(ok bool) {
		if !open || r.life != life {
			return
		}
		open, rec.telling = false, false
		if ok || r.w.opt.Break == LostExits {
			rec.outbox = rec.outbox[1:]
		}
		r.publish(rec)
	}
	r.w.send(&r.r, func() {
		if r.cut || r.w.cut || r.w.full || r.life != life {
			return
		}
		r.w.log.publish(first.id, first.in)
		r.w.send(&r.r, func() { done(true) })
	})
	r.w.after(logTimeout, func() { done(false) })
}

// crash ends the runner; its successor finds ledger and agents.
func (r *runner) crash(rest time.Duration) {
	if !r.up {
		return
	}
	r.w.tell(r.name, "is killed")
	r.away()
	r.up = false
	r.told = 0
	r.life++
	for _, name := range r.order {
		rec := r.ledger[name]
		rec.telling, rec.waiting, rec.confirm = false, nil, nil
		if r.w.opt.Break == LostExits {
			rec.outbox = nil
		}
	}
	life := r.life
	r.w.after(rest, func() {
		if r.life == life {
			r.recover()
		}
	})
}

func (r *runner) recover() {
	r.w.tell(r.name, "is back")
	r.up, r.dead = true, false
	r.life++
	r.back()
	if r.w.opt.Break == NoLedger {
		r.ledger, r.order = map[string]*record{}, nil
	}
	for _, name := range r.order {
		rec := r.ledger[name]
		switch {
		case rec.state == starting:
			// It died before there was a process.
			r.recordEnd(rec, name, rec.incarnation, false)
		case rec.state == running && !rec.process.alive:
			r.ended(rec, rec.process, false)
		case rec.state == running && rec.stopped > 0:
			rec.process.terminate(time.Second, false)
		}
		r.publish(rec)
	}
}

func (r *runner) away() {
	if r.reachable() {
		r.heard = r.w.now
	}
}

func (r *runner) back() {
	if r.reachable() {
		r.from = r.w.now
	}
}

// announceEvery is how soon a runner that is back is heard of.
const announceEvery = 500 * time.Millisecond

// runnerTimeout is how long a runner that is not heard of counts as available.
const runnerTimeout = 5 * time.Second

// available gives the runners that somebody knows of who listens since then.
func (w *world) available(since tree.Instant) (all []tree.Runner, names string) {
	for _, r := range w.runners {
		heard := r.heard
		if r.reachable() && w.now > r.from.Add(announceEvery) {
			heard = w.now
		}
		if heard > since && heard.Add(runnerTimeout) > w.now {
			all = append(all, tree.Runner{Name: r.name, Labels: w.labels(r.i)})
			names += r.name + " "
		}
	}
	return all, names
}

func (w *world) runner(name string) *runner {
	for _, r := range w.runners {
		if r.name == name {
			return r
		}
	}
	panic(fmt.Sprintf("sim: there is no runner %q", name))
}
