package tree

import (
	"fmt"
	"testing"
	"time"
)

// TestShutdownTimeout: everything below a supervisor that stops has the
// supervisor's own time together, whichever supervisor above it sets that, and is
// killed then. A group's children take their turns; independent ones stop side by
// side.
func TestShutdownTimeout(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		strategy     Strategy
		outer, inner time.Duration
		want         string
		took         time.Duration
	}{
		{OneForAll, 12 * second, 8 * second, "[d 5s false c 3s false b 4s false a 5s true]", 12 * second},
		{RestForOne, 12 * second, 8 * second, "[d 5s false c 3s false b 4s false a 5s true]", 12 * second},
		{OneForOne, 12 * second, 3 * second, "[d 3s false c 3s false b 5s false a 5s false]", 5 * second},
		{Escalate, 4 * second, 3 * second, "[d 3s false c 3s false b 4s false a 4s false]", 4 * second},
	} {
		t.Run(string(c.strategy), func(t *testing.T) {
			sup := func(id, parent string, timeout time.Duration) *Spec {
				return &Spec{ID: id, Parent: parent, ShutdownTimeout: timeout, Supervisor: &Supervisor{Strategy: c.strategy, MaxRestarts: 9, Period: time.Minute}}
			}
			agent := func(id, parent string) *Spec {
				return &Spec{ID: id, Parent: parent, ShutdownTimeout: 5 * second, Agent: &Agent{}}
			}
			b := newBench(t, sup("root", "", 0), sup("outer", "root", c.outer), agent("a", "outer"), agent("b", "outer"),
				sup("inner", "outer", c.inner), agent("c", "inner"), agent("d", "inner"), agent("free", "root"))
			s := slowStops{b: b, ends: map[string]Instant{}}
			begin := b.now
			s.ordered(b.raw(Input{Kind: Order, Command: CmdTerminate, Node: "outer"}))
			for len(s.ends) > 0 {
				s.next()
			}
			if got := fmt.Sprint(s.orders); got != c.want {
				t.Errorf("ordered %s, want %s", got, c.want)
			}
			if took := time.Duration(b.now - begin); took != c.took {
				t.Errorf("it took %s, want %s", took, c.took)
			}
			b.wantPhase("outer", Idle)
			s.orders = nil
			if s.ordered(b.raw(Input{Kind: Order, Command: CmdTerminate, Node: "free"})); fmt.Sprint(s.orders) != "[free 5s false]" {
				t.Errorf("the bound counts elsewhere, too: %v", s.orders)
			}
		})
	}
}

// slowStops is a fleet whose agents take all the time that they are given to
// stop.
type slowStops struct {
	b      *bench
	orders []string
	// ends is when those end that were ordered to.
	ends map[string]Instant
}

func (s *slowStops) ordered(out []Effect) {
	for _, e := range out {
		if e.Kind != DoStop {
			continue
		}
		s.orders = append(s.orders, fmt.Sprintf("%s %s %v", e.Node, e.Timeout, e.Kill))
		s.ends[e.Node] = s.b.now
		if !e.Kill {
			s.ends[e.Node] = s.b.now.Add(e.Timeout)
		}
	}
}

// next lets the agent end whose time is over first.
func (s *slowStops) next() {
	again := s.b.tree.Outstanding()
	if len(again) != len(s.ends) {
		s.b.t.Fatalf("a successor would order %+v; under way are %v", again, s.ends)
	}
	first := ""
	for _, e := range again {
		if end := s.b.tree.nodes[e.Node].st.Since.Add(e.Timeout); !e.Kill && end != s.ends[e.Node] {
			s.b.t.Errorf("a successor would give %s until %d, not %d", e.Node, end, s.ends[e.Node])
		}
		if first == "" || s.ends[e.Node] < s.ends[first] {
			first = e.Node
		}
	}
	s.b.now = s.ends[first]
	delete(s.ends, first)
	s.ordered(s.b.raw(Input{Kind: Stopped, Node: first, Incarnation: 1}))
}
