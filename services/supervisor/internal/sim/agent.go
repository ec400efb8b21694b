package sim

import (
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// agent is a program that is started again and again, and what is known about
// its starts.
type agent struct {
	w    *world
	name string
	r    stream
	// slow is how long it takes to end when asked, deaf whether it must be
	// killed, plain whether its heartbeats lack an incarnation.
	slow        time.Duration
	deaf, plain bool
	interval    time.Duration
	// live are its processes; there must never be two.
	live []*process
	// spawned is the highest incarnation that was started, decided the highest
	// that a stored decision started, phase what it last said.
	spawned, decided uint64
	phase            tree.Phase
	// apart is set while the log says that it is not enforced.
	apart bool
	// left is set once it was taken out of the tree while it was not enforced:
	// what then still runs is nobody's, and so not looked at.
	left bool
	// foreign is a process that somebody else keeps, if there ever was one.
	foreign *foreign
	// doom waits for the next start; lag is how late that will come.
	doom *Fault
	lag  time.Duration
	// own counts what the agent may be charged with: ends by itself, failed
	// starts, verdicts on it.
	own int
	// withdrawn is the last incarnation that its runner ended without an order.
	withdrawn uint64
	// logged are the effects in stored decisions.
	logged map[effectKey][]string
	story  story
	// builds are those that its incarnations were started from.
	builds map[uint64]string
	// unsure are those whose specification changed while they were being started.
	unsure map[uint64]bool
}

type effectKey struct {
	kind        tree.EffectKind
	incarnation uint64
}

func newAgent(w *world, name string) *agent {
	a := &agent{w: w, name: name, r: streamOf(w.Seed, name), logged: map[effectKey][]string{}, story: newStory(), builds: map[uint64]string{}, unsure: map[uint64]bool{}}
	a.slow = pick(&a.r, 0, a.r.between(1, 200*time.Millisecond), a.r.between(1, 4*time.Second))
	a.deaf, a.plain = a.r.chance(15), a.r.chance(15)
	a.interval = a.r.between(100*time.Millisecond, 900*time.Millisecond)
	return a
}

// startFails tells whether the next start finds no program to run.
func (a *agent) startFails() bool {
	return !a.w.calm && a.w.Flaky > 0 && a.r.chance(a.w.Flaky/2)
}

// process is one incarnation that runs.
type process struct {
	agent       *agent
	runner      *runner
	incarnation uint64
	alive, hung bool
	normal      bool
	beating     bool
	// expected is set while a verdict on it is to come.
	expected bool
	// forgotten is set while the log does not know of its start any more.
	forgotten bool
	// withHost is set when it ended because its host did, or the runner's
	// container.
	withHost bool
	ending   bool
}

// spawn starts a process; how it will fare is decided here.
func (w *world) spawn(a *agent, r *runner, n uint64, build string) *process {
	p := &process{agent: a, runner: r, incarnation: n, alive: true}
	w.stats.Starts++
	if w.telling() {
		w.say(r.name, "starts %s incarnation %d", a.name, n)
	}
	w.check.spawned(w, p)
	a.builds[n] = build
	p.forgotten = w.forgot && a.forgets(n)
	a.live = append(a.live, p)
	a.spawned = max(a.spawned, n)
	flaky := !w.calm && w.Flaky > 0
	switch {
	case strings.HasPrefix(build, broken):
		w.after(a.r.between(0, 100*time.Millisecond), func() { p.exit(false) })
	case flaky && a.r.chance(w.Flaky/2):
		w.after(a.r.between(0, 2*time.Second), func() { p.exit(a.r.chance(20)) })
	case flaky && a.r.chance(w.Flaky/2):
		p.hang()
	}
	w.after(a.r.between(time.Millisecond, 50*time.Millisecond), a.listenedTo)
	return p
}

// listenedTo makes the agent's processes beat: only heartbeats that somebody
// listens to are simulated.
func (a *agent) listenedTo() {
	for _, p := range a.live {
		if !p.beating {
			p.beating = true
			p.beat()
		}
	}
}

func (p *process) beat() {
	a := p.agent
	heard := false
	n := p.incarnation
	if a.plain {
		n = 0
	}
	if p.alive && !p.hung {
		for _, s := range a.w.supervisors {
			if s.mode < catching || !s.watching[a.name] {
				continue
			}
			heard = true
			if p.runner.cut {
				continue
			}
			s.send(&a.r, s.own(func() {
				if p.hung {
					p.silent() // the detector takes it for alive, too, and finds out again
				}
				if s.watching[a.name] {
					s.post(arrival{Input: tree.Input{Kind: tree.Beat, Node: a.name, Incarnation: n}})
				}
			}))
		}
	}
	if !heard {
		p.beating = false
		return
	}
	a.w.after(a.interval, p.beat)
}

// hang makes a process silent. The detector will notice.
func (p *process) hang() {
	if !p.alive || p.hung {
		return
	}
	p.hung = true
	w := p.agent.w
	if w.telling() {
		w.say(p.agent.name, "incarnation %d hangs", p.incarnation)
	}
	p.silent()
}

// silent lets the detector find a process silent, some time from now.
func (p *process) silent() {
	if !p.alive || p.expected {
		return
	}
	p.expected = true
	w := p.agent.w
	soon := p.agent.r.between(time.Second, 4*time.Second)
	if w.forgot {
		soon += 15 * time.Second // once the tree may know the incarnation again
	}
	w.after(soon, func() {
		p.expected = false
		if p.alive {
			w.stats.Verdicts++
			w.verdict(p.agent, p.incarnation, "heartbeat_timeout")
		}
	})
}

// verdict stores what the detector concludes.
func (w *world) verdict(a *agent, n uint64, why string) {
	a.own++
	w.log.outage(func() {
		w.log.publish("verdict."+a.name+"."+strconv.FormatUint(n, 10)+"."+strconv.Itoa(int(w.now)), tree.Input{Kind: tree.Failed, Node: a.name, Incarnation: n, At: w.now, Reason: why})
	})
}

// outage does something as soon as the log can be reached.
func (l *log) outage(do func()) {
	if l.w.cut || l.w.full {
		l.w.after(300*time.Millisecond, func() { l.outage(do) })
		return
	}
	do()
}

// terminate asks a process to end, then kills it.
func (p *process) terminate(patience time.Duration, kill bool) {
	w := p.agent.w
	if kill {
		w.after(time.Millisecond, func() { p.end(false) })
		return
	}
	if !p.ending && !p.agent.deaf && !p.hung {
		w.after(p.agent.slow, func() { p.end(true) })
	}
	p.ending = true
	w.after(patience, func() { p.end(false) })
}

// exit is the end of a process by itself.
func (p *process) exit(normal bool) {
	if p.alive {
		p.agent.own++
	}
	p.end(normal)
}

// end is the end of a process; its runner finds out.
func (p *process) end(normal bool) {
	if !p.alive {
		return
	}
	p.alive, p.normal = false, normal
	a := p.agent
	for i, o := range a.live {
		if o == p {
			a.live = append(a.live[:i], a.live[i+1:]...)
			break
		}
	}
	a.w.stats.Ends++
	if a.w.telling() {
		a.w.say(a.name, "incarnation %d ends, normal %t", p.incarnation, normal)
	}
	r := p.runner
	life := r.life
	a.w.after(a.r.between(100*time.Microsecond, 3*time.Millisecond), func() {
		if r.up && r.life == life {
			r.ended(r.record(a.name), p, true)
		}
	})
}
