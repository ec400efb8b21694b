package supervisor

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/heap"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// play runs the tree's core under a configuration, with agents that behave as
// told, in as little time as it takes.
type play struct {
	t    *testing.T
	tree *tree.Tree
	// manner is how an agent behaves.
	manner func(agent string) manner
	now    tree.Instant
	queue  heap.Heap[happening]
	order  int
	// starts counts those of each agent, notes what was concluded about nodes,
	// cut the agents that had less than their own time to stop, in order.
	starts map[string]int
	notes  map[tree.EffectKind]map[string]int
	cut    []string
	up     map[string]tree.Instant
	// decided is how long it took to the latest decision not to restart a child.
	decided time.Duration
	// untilApart makes a run end when a child is set apart.
	untilApart bool
}

// manner is what an agent does. The zero value is well.
type manner struct {
	// beats is how long its first heartbeat takes, never if it does not come.
	beats time.Duration
	never bool
	// crashes and finishes: it ends as soon as it has come up, badly or well.
	crashes, finishes bool
	// lives are how long its first processes live until they crash.
	lives []time.Duration
	// stubborn agents take all their time to stop, others as long as stops if they
	// have that.
	stubborn bool
	stops    time.Duration
	// life is how long it lives after its first heartbeat if it crashes.
	life time.Duration
}

const playEpoch = tree.Instant(1_700_000_000_000_000_000)

func newPlay(t *testing.T, f *config.File, m func(agent string) manner) *play {
	t.Helper()
	nodes, err := specs(f)
	if err != nil {
		t.Fatal(err)
	}
	p := &play{
		t: t, tree: tree.New(tree.Options{}), manner: m, now: playEpoch, starts: map[string]int{},
		notes: map[tree.EffectKind]map[string]int{}, up: map[string]tree.Instant{},
	}
	runners := []tree.Runner{{Name: "some"}}
	known := map[string]bool{}
	for _, a := range f.Tree.Agents() {
		if a.Runner != config.AnyRunner && !known[a.Runner] {
			known[a.Runner] = true
			runners = append(runners, tree.Runner{Name: a.Runner})
		}
	}
	p.do(tree.Input{Kind: tree.Runners, Runners: runners})
	p.do(tree.Input{Kind: tree.Configure, Specs: nodes, Boot: true})
	return p
}

// happening is an input at its time.
type happening struct {
	at    tree.Instant
	order int
	in    tree.Input
}

func (h happening) Before(o happening) bool {
	return h.at < o.at || h.at == o.at && h.order < o.order
}

func (p *play) later(d time.Duration, in tree.Input) {
	p.order++
	p.queue.Push(happening{p.now.Add(d), p.order, in})
}

// do takes an input, and has the fleet answer.
func (p *play) do(in tree.Input) {
	for _, e := range p.tree.Step(&in, p.now, nil) {
		about := func(kind tree.InputKind) tree.Input {
			return tree.Input{Kind: kind, Node: e.Node, Incarnation: e.Incarnation, Reason: "as told"}
		}
		m := p.manner(e.Node)
		switch e.Kind {
		case tree.DoStart:
			p.starts[e.Node]++
			p.later(0, about(tree.Started))
			if m.never {
				continue
			}
			p.later(m.beats, about(tree.Beat))
			lives := m.beats + m.life
			if started := p.starts[e.Node]; started <= len(m.lives) {
				m.crashes, lives = true, m.lives[started-1]
			}
			if m.crashes || m.finishes {
				end := about(tree.Exited)
				end.Normal = m.finishes
				p.later(lives, end)
			}
		case tree.DoStop:
			spec, _, _ := p.tree.Lookup(e.Node)
			if e.Kill || e.Timeout < spec.ShutdownTimeout {
				p.cut = append(p.cut, e.Node)
			}
			took := m.stops
			if m.stubborn || e.Timeout > 0 && took > e.Timeout {
				took = e.Timeout
			}
			if e.Kill {
				took = 0
			}
			p.later(took, about(tree.Stopped))
		case tree.DoReport:
			p.later(0, about(tree.Failed))
		default:
			if p.notes[e.Kind] == nil {
				p.notes[e.Kind] = map[string]int{}
			}
			p.notes[e.Kind][e.Node]++
			switch e.Kind {
			case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteGiveUp, tree.NoteIsolate:
				p.decided = p.took()
			}
			if e.Kind == tree.NoteRunning {
				p.up[e.Node] = p.now
			}
		}
	}
}

// run lets time pass until nothing more happens, the root is down or, if asked
// for, a child is set apart. It reports whether it came to that end.
func (p *play) run(d time.Duration) bool {
	end := p.now.Add(d)
	for p.phase("root") != tree.Idle && !(p.untilApart && len(p.notes[tree.NoteIsolate]) > 0) {
		due, timed := p.tree.Next()
		switch {
		case len(p.queue) > 0 && (!timed || p.queue[0].at <= due):
			if p.queue[0].at > end {
				return false
			}
			h := p.queue.Pop()
			p.now = max(p.now, h.at)
			p.do(h.in)
		case timed:
			if due > end {
				return false
			}
			p.now = max(p.now, due)
			p.do(tree.Input{Kind: tree.Tick})
		default:
			return true
		}
	}
	return true
}

func (p *play) took() time.Duration { return time.Duration(p.now - playEpoch) }

func (p *play) phase(node string) tree.Phase {
	_, st, ok := p.tree.Lookup(node)
	if !ok {
		p.t.Fatalf("there is no %s", node)
	}
	return st.Phase
}

// gaveUp counts how often a supervisor's limit was exceeded.
func (p *play) gaveUp(node string) int {
	n := 0
	for _, kind := range []tree.EffectKind{tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteGiveUp} {
		n += p.notes[kind][node]
	}
	for _, child := range p.tree.Children(node) {
		n += p.notes[tree.NoteIsolate][child]
	}
	return n
}

func (p *play) allStarts() int {
	n := 0
	for _, count := range p.starts {
		n += count
	}
	return n
}
