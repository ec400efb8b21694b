package correlation

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/internal/heap"
)

// Tracker follows who is silent. It is not safe for concurrent use. The effects
// that a method returns are valid until the next call.
type Tracker struct {
	cfg    Config
	census Census
	silent map[string]*entry
	crowds map[Group]crowd
	// open are the findings that hold something, in the order they began.
	open []*Finding
	due  heap.Heap[place]
	// tokens is how many verdicts may be released at once, as of filled.
	tokens    float64
	filled    Instant
	notBefore Instant
	serial    uint64
	held      int
	out       []Effect
}

// crowd is how many members of a group are silent, and how many it had when that
// was most: those that ended are in no census any more.
type crowd struct{ n, size int }

// stage is how far a silence has come.
type stage uint8

const (
	suspected stage = iota
	waiting         // a verdict that is held
	released
	proven // its end is; it counts for its crowds, but nothing is held
)

// entry is a silent agent.
type entry struct {
	member  Member
	stage   stage
	at      Instant // of suspicion
	verdict Instant
	until   Instant // what the queue waits for
	serial  uint64  // tells a moved entry's old places in the queue
	finding *Finding
	counted bool // in its crowds
	settled bool // of a proven one: it was looked at what it may be part of
}

// New makes a tracker of nobody.
func New(cfg Config, census Census) (*Tracker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("correlation: %w", err)
	}
	return &Tracker{cfg: cfg.withDefaults(), census: census, silent: map[string]*entry{}, crowds: map[Group]crowd{}}, nil
}

// Held tells whether a verdict on the agent is held.
func (t *Tracker) Held(agent string) bool {
	e := t.silent[agent]
	return e != nil && e.stage == waiting
}

// Waiting is how many verdicts are held.
func (t *Tracker) Waiting() int { return t.held }

// Terms are how long a verdict is held and how many are released in a second.
func (t *Tracker) Terms() (hold time.Duration, rate float64) { return t.cfg.Hold, t.rate() }

// Open lists the findings that hold verdicts.
func (t *Tracker) Open() []*Finding { return t.open }

// Suspect says that a member is silent, though not for so long that a verdict
// were due.
func (t *Tracker) Suspect(now Instant, m Member) []Effect {
	t.begin(now)
	if e := t.silent[m.Agent]; e == nil || e.member.Incarnation != m.Incarnation {
		t.enter(now, m, 0)
		t.recognise(now, m)
		t.close()
	}
	return t.out
}

// Verdict says that silence condemns a member. The verdict is released at once
// unless too many others are silent at the same time.
func (t *Tracker) Verdict(now Instant, m Member) []Effect {
	t.begin(now)
	e := t.silent[m.Agent]
	if e == nil || e.member.Incarnation != m.Incarnation {
		e = t.enter(now, m, 0)
	}
	if e.stage == waiting || e.stage == proven {
		return t.out
	}
	e.verdict = now
	switch f := t.covering(m); {
	case f != nil:
		t.wait(e, now+t.cfg.Hold)
		t.assign(e, f)
	case t.crowded(m):
		t.wait(e, now+min(t.cfg.Hold, t.window(m), max(m.Interval, t.cfg.Window/10)))
		t.recognise(now, m)
	default:
		e.stage = released
		t.out = append(t.out, Effect{What: Release, Member: m})
	}
	t.close()
	return t.out
}

// Back says that an agent was heard again. It reports whether a verdict was
// held, which is withdrawn.
func (t *Tracker) Back(now Instant, agent string) (withdrawn bool, effects []Effect) {
	return t.leave(now, agent, func(f *Finding) { f.Back++ })
}

// Ended says that a member's end was proven, without anybody having ordered it.
// That is told by others and never held, but many such ends at once are one
// matter as well. It reports whether a verdict was held, which is withdrawn.
func (t *Tracker) Ended(now Instant, m Member) (withdrawn bool, effects []Effect) {
	t.begin(now)
	e := t.silent[m.Agent]
	if e == nil || e.member.Incarnation != m.Incarnation {
		e = t.enter(now, m, 1)
	}
	if e.stage == proven {
		return false, t.out
	}
	if withdrawn = e.stage == waiting; withdrawn {
		t.held--
	}
	e.stage, e.at = proven, now
	if e.finding == nil {
		if f := t.covering(m); f != nil {
			t.assign(e, f)
		}
	}
	t.schedule(e, now+t.cfg.Window/settle)
	t.close()
	return withdrawn, t.out
}

// settle is the part of the window in which ends that belong together are
// awaited.
const settle = 10

// Gone says that nothing is to be said of an agent's silence any more: it left,
// or began another life. It reports whether a verdict was held, which is
// withdrawn.
func (t *Tracker) Gone(now Instant, agent string) (withdrawn bool, effects []Effect) {
	return t.leave(now, agent, func(f *Finding) { f.Proven++ })
}

// Told says that another detector has told the verdict.
func (t *Tracker) Told(now Instant, agent string) (withdrawn bool, effects []Effect) {
	return t.leave(now, agent, func(f *Finding) { f.Released++ })
}

func (t *Tracker) leave(now Instant, agent string, count func(*Finding)) (bool, []Effect) {
	t.begin(now)
	e := t.silent[agent]
	if e == nil || e.stage == proven {
		return false, t.out
	}
	held := e.stage == waiting
	if f := e.finding; f != nil && held {
		count(f)
	}
	t.drop(e)
	t.close()
	return held, t.out
}

// Grace says that nothing is to be released before an instant: those that were
// cut off from the detector, or it from them, may still be on their way back.
func (t *Tracker) Grace(until Instant) { t.notBefore = max(t.notBefore, until) }

// Tick says that time has passed.
func (t *Tracker) Tick(now Instant) []Effect {
	t.begin(now)
	for len(t.due) > 0 && t.due[0].until <= now {
		x := t.due[0]
		e := x.entry
		if e.serial != x.serial { // it has moved since, or is gone
			t.due.Pop()
			continue
		}
		switch {
		case e.stage == proven && !e.settled:
			t.due.Pop()
			e.settled = true
			t.schedule(e, e.at+t.window(e.member))
			if e.finding == nil {
				t.join(now, e)
			}
			continue
		case e.stage != waiting:
			t.due.Pop()
			t.expire(e, now)
			continue
		case e.finding == nil && t.join(now, e):
			continue // held by a finding now, and elsewhere in the queue
		}
		if now < t.notBefore || !t.take() {
			break
		}
		t.due.Pop()
		t.release(e, now)
	}
	t.close()
	return t.out
}

// join puts a verdict that waited to see what becomes of others on a finding's
// account, if there is or ought to be one.
func (t *Tracker) join(now Instant, e *entry) bool {
	if f := t.covering(e.member); f != nil {
		t.account(e, f)
		return true
	}
	return t.explain(now, e.member)
}

func (t *Tracker) begin(now Instant) {
	t.out = t.out[:0]
	rate := t.rate()
	if passed := now - t.filled; passed > 0 {
		t.tokens = min(t.tokens+rate*passed.Seconds(), t.burst(rate))
		t.filled = now
	}
}

// rate is how many verdicts may be released in a second.
func (t *Tracker) rate() float64 {
	return max(t.cfg.ReleaseRate, math.Ceil(float64(t.census(Group{Kind: Fleet}))/ReleaseWithin.Seconds()))
}

// burst lets those that fell due between two ticks go together.
func (t *Tracker) burst(rate float64) float64 { return max(1, rate/10) }

func (t *Tracker) take() bool {
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

// window is how long a suspicion counts as one of those at the same time.
func (t *Tracker) window(m Member) time.Duration { return max(t.cfg.Window, 2*m.Interval) }

// enter takes up a silent member, of whom gone are in no census any more.
func (t *Tracker) enter(now Instant, m Member, gone int) *entry {
	if old := t.silent[m.Agent]; old != nil {
		t.drop(old)
	}
	e := &entry{member: m, at: now, counted: true}
	t.silent[m.Agent] = e
	groups, n := m.groups()
	for _, g := range groups[:n] {
		c := t.crowds[g]
		t.crowds[g] = crowd{c.n + 1, max(c.size, t.census(g)+gone)}
	}
	t.schedule(e, now+t.window(m))
	return e
}

// expire ends a silence's part in the crowds: it is an old one. Who is still
// only suspected is forgotten; should a verdict follow, it is a single one.
func (t *Tracker) expire(e *entry, now Instant) {
	if f := t.covering(e.member); e.stage != proven && f != nil && now < f.Begun+t.cfg.Hold {
		t.schedule(e, now+t.window(e.member))
		return
	}
	t.drop(e)
}

// drop forgets an entry.
func (t *Tracker) drop(e *entry) {
	e.serial = 0
	t.uncount(e)
	if e.stage == waiting {
		t.held--
	}
	if f := e.finding; f != nil {
		f.held--
		if e.stage == proven {
			f.Proven++
		}
	}
	delete(t.silent, e.member.Agent)
}

func (t *Tracker) uncount(e *entry) {
	if !e.counted {
		return
	}
	e.counted = false
	groups, n := e.member.groups()
	for _, g := range groups[:n] {
		c := t.crowds[g]
		if c.n--; c.n == 0 {
			delete(t.crowds, g)
		} else {
			t.crowds[g] = c
		}
	}
}

// wait holds a verdict.
func (t *Tracker) wait(e *entry, until Instant) {
	if e.stage != waiting {
		e.stage = waiting
		t.held++
	}
	t.schedule(e, until)
}

// account puts a silence on a finding's account, and holds the verdict if there
// is one.
func (t *Tracker) account(e *entry, f *Finding) {
	t.assign(e, f)
	if e.stage == waiting {
		t.wait(e, e.verdict+t.cfg.Hold)
	}
}

// assign puts a silence on a finding's account.
func (t *Tracker) assign(e *entry, f *Finding) {
	if e.finding != nil {
		e.finding.held--
	}
	e.finding = f
	f.held++
}

// release lets a held verdict go. It stays one of its crowds for the rest of
// the window.
func (t *Tracker) release(e *entry, now Instant) {
	t.held--
	e.stage = released
	if f := e.finding; f != nil {
		f.held--
		f.Released++
	}
	t.out = append(t.out, Effect{What: Release, Member: e.member, Held: now - e.verdict, Finding: e.finding})
	e.finding = nil
	t.schedule(e, max(now, e.at+t.window(e.member)))
}

func (t *Tracker) schedule(e *entry, until Instant) {
	t.serial++
	e.until, e.serial = until, t.serial
	t.due.Push(place{entry: e, until: until, serial: t.serial})
}

// close ends the findings that hold nothing any more.
func (t *Tracker) close() {
	t.open = slices.DeleteFunc(t.open, func(f *Finding) bool {
		if f.held == 0 {
			t.out = append(t.out, Effect{What: Over, Finding: f})
		}
		return f.held == 0
	})
}

// place is an entry's place in the queue.
type place struct {
	entry  *entry
	until  Instant
	serial uint64
}

// Before orders what waits by its instant, and what waits for the same one by its
// coming.
func (p place) Before(o place) bool {
	return p.until < o.until || p.until == o.until && p.serial < o.serial
}
