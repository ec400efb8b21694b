package tree

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a tree under test that keeps its time and its effects.
type bench struct {
	t    testing.TB
	tree *Tree
	now  Instant
	done []string
	// orders counts those that have a token.
	orders int
}

const epoch = Instant(1_700_000_000_000_000_000)

func newBench(t testing.TB, specs ...*Spec) *bench {
	b := &bench{t: t, tree: New(Options{}), now: epoch}
	b.do(Input{Kind: Configure, Specs: specs, Boot: true})
	return b
}

// do takes an input and answers starts and stops at once, as a healthy fleet
// does.
func (b *bench) do(in Input) {
	queue := []Input{in}
	for len(queue) > 0 {
		in, queue = queue[0], queue[1:]
		for _, e := range b.raw(in) {
			switch e.Kind {
			case DoStart:
				queue = append(queue, Input{Kind: Started, Node: e.Node, Incarnation: e.Incarnation})
			case DoStop:
				queue = append(queue, Input{Kind: Stopped, Node: e.Node, Incarnation: e.Incarnation})
			}
		}
		for _, n := range b.tree.nodes {
			if len(queue) == 0 && n.st.Phase == Claiming && n.st.ListenStage != Listening {
				b.now = n.st.Due // listening takes steps
				queue = append(queue, Input{Kind: Tick})
			}
		}
	}
}

// raw takes an input and answers nothing.
func (b *bench) raw(in Input) []Effect {
	out := b.tree.Step(&in, b.now, nil)
	for _, e := range out {
		switch e.Kind {
		case DoReply:
			b.done = append(b.done, "reply "+string(e.Result))
		default:
			b.done = append(b.done, string(e.Kind)+" "+e.Node)
		}
	}
	return out
}

func (b *bench) after(d time.Duration) {
	b.now = b.now.Add(d)
	b.do(Input{Kind: Tick})
}

func (b *bench) crash(agent string) {
	b.do(Input{Kind: Exited, Node: agent, Incarnation: b.state(agent).Incarnation, Reason: "crash"})
}

func (b *bench) state(id string) State {
	b.t.Helper()
	_, st, ok := b.tree.Lookup(id)
	if !ok {
		b.t.Fatalf("there is no %s", id)
	}
	return st
}

func (b *bench) wantPhase(id string, want Phase) {
	b.t.Helper()
	if got := b.state(id).Phase; got != want {
		b.t.Errorf("%s is %s, want %s; done: %v", id, got, want, b.done)
	}
}

func (b *bench) took() string {
	out := strings.Join(b.done, ", ")
	b.done = nil
	return out
}

func sup(id, parent string, s Supervisor) *Spec {
	if s.Strategy == "" {
		s.Strategy = OneForOne
	}
	if s.Period == 0 {
		s.Period = time.Minute
	}
	return &Spec{ID: id, Parent: parent, Supervisor: &s}
}

func agent(id, parent string, change ...func(*Spec)) *Spec {
	s := &Spec{ID: id, Parent: parent, Agent: &Agent{}, ShutdownTimeout: 5 * time.Second}
	for _, f := range change {
		f(s)
	}
	return s
}
