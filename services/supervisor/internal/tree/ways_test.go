package tree

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// TestWays: docs/supervision/states.md names every state of an agent and every way from
// one to another, and no other. And what is down is down for certain, or for
// somebody else to know.
func TestWays(t *testing.T) {
	t.Parallel()
	s := stroll{Rand: rand.New(rand.NewPCG(1, 3)), t: t, ways: map[way]int{}}
	for range 18000 {
		s.walk(50)
	}
	documented := documentedWays(t)
	for w := range documented {
		if s.ways[w] == 0 {
			t.Errorf("docs/supervision/states.md has agents go from %s to %s; none ever does", w.from, w.to)
		}
	}
	for w, times := range s.ways {
		if !documented[w] {
			t.Errorf("agents go from %s to %s, %d times here; docs/supervision/states.md does not say so", w.from, w.to, times)
		}
	}
}

type way struct{ from, to Phase }

// documentedWays reads the table of states.
func documentedWays(t *testing.T) map[way]bool {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/supervision/states.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| state | means | goes to |")
	table, _, found := strings.Cut(table, "\n\n")
	ways, states := map[way]bool{}, map[Phase]bool{}
	rows := regexp.MustCompile("(?m)^\\| (?:`([a-z]+)`|any) \\|.*\\| (.*) \\|$").FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		states[Phase(row[1])] = row[1] != ""
	}
	if !found || len(states) < 5 {
		t.Fatal("the table of states is not found in docs/supervision/states.md")
	}
	for _, row := range rows {
		for _, word := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[2], -1) {
			to := Phase(word[1])
			if !states[to] {
				continue // another word that is no state
			}
			if row[1] != "" {
				ways[way{Phase(row[1]), to}] = true
				continue
			}
			for from := range states {
				if from != "" && from != to {
					ways[way{from, to}] = true
				}
			}
		}
	}
	return ways
}

// stroll tells small trees anything that can be told, in any order, and notes
// which ways agents go.
type stroll struct {
	*rand.Rand
	t    *testing.T
	tree *Tree
	now  Instant
	// spread says how much happens besides what is to be expected.
	spread int
	ways   map[way]int
}

func oneOf[T any](s *stroll, of ...T) T { return of[s.IntN(len(of))] }

func (s *stroll) walk(steps int) {
	s.tree, s.now = New(Options{}), epoch
	s.spread = oneOf(s, 5, 6, 8)
	s.step(Input{Kind: Configure, Specs: s.specs(), Boot: true})
	s.step(Input{Kind: Runners, Runners: []Runner{{Name: "r"}}})
	for range steps {
		s.step(s.input())
	}
}

// step notes the ways of one step: what is passed through within it does not
// count, but for a start that is given up in the same step.
func (s *stroll) step(in Input) {
	type place struct {
		Phase
		incarnation uint64
	}
	before := map[string]place{}
	for id, n := range s.tree.nodes {
		before[id] = place{n.st.Phase, n.st.Incarnation}
	}
	s.tree.Step(&in, s.now, nil)
	for id, n := range s.tree.nodes {
		was, known := before[id]
		if !known || n.spec.Agent == nil {
			continue
		}
		to := n.st.Phase
		if n.st.Incarnation > was.incarnation {
			s.note(was.Phase, Starting)
			if was.Phase = Starting; to.pending() {
				to = Starting // a start that waits is documented as one
			}
		}
		s.note(was.Phase, to)
		if p := n.st.Phase; p.Down() && n.st.Claim.ours() {
			s.t.Fatalf("%s is %s and may live: its claim is %q", id, p, n.st.Claim)
		}
	}
}

func (s *stroll) note(from, to Phase) {
	if from != to {
		s.ways[way{from, to}]++
	}
}

// input is anything about anybody.
func (s *stroll) input() Input {
	node := oneOf(s, "s", "a", "b")
	in := Input{Node: node, Reason: "x"}
	if n := s.tree.nodes[node]; n != nil {
		in.Incarnation = n.st.Incarnation
	}
	if s.IntN(4) == 0 {
		in.Incarnation = oneOf(s, 0, in.Incarnation+1)
	}
	if s.IntN(2) == 0 {
		return s.expected(node)
	}
	switch s.IntN(s.spread) {
	case 0:
		in.Kind, in.Normal = oneOf(s, Started, Started, StartFailed, Stopped, Exited, Exited, Lost, Failed), s.IntN(2) == 0
	case 1:
		in.Kind, in.Unwell = oneOf(s, Started, Beat, Beat, SeenAlive), s.IntN(4) == 0
	case 2:
		in.Kind, in.Command, in.To = Order, oneOf(s, CmdStart, CmdDelete, CmdTerminate, CmdTerminate, CmdRestart, CmdSuspend, CmdResume, CmdResume, CmdMove), oneOf(s, "root", "s")
	case 3:
		mode := oneOf(s, RolloutOf(Enforce), RolloutOf(Enforce), RolloutOf(Shadow), RolloutOf(Off))
		in.Kind, in.Command, in.Mode, in.Node = Order, CmdMode, &mode, oneOf(s, "root", "s", "a", "b")
	default:
		switch s.IntN(4) {
		case 0:
			return Input{Kind: Configure, Specs: s.specs(), Boot: true}
		case 1:
			if s.IntN(4) == 0 {
				return Input{Kind: Order, Command: CmdClose, Node: "root"}
			}
			return oneOf(s, Input{Kind: HeartbeatsMissed}, Input{Kind: Runners}, Input{Kind: Runners, Runners: []Runner{{Name: "r"}}})
		}
		return s.tick()
	}
	return in
}

// expected is what is likely to be told of a node, or happens about it.
func (s *stroll) expected(node string) (in Input) {
	in = Input{Node: node, Reason: "x"}
	n := s.tree.nodes[node]
	if n == nil {
		return s.tick()
	}
	in.Incarnation, in.Normal = n.st.Incarnation, s.IntN(2) == 0
	if s.IntN(6) == 0 {
		in.Incarnation = oneOf(s, 0, in.Incarnation+1)
	}
	switch n.st.Phase {
	case Starting:
		in.Kind = oneOf(s, Started, Started, Started, StartFailed)
	case Verifying:
		in.Kind = Beat
	case Stabilising:
		if in.Kind = Exited; s.IntN(3) > 0 {
			return s.tick()
		}
	case Running:
		in.Kind = oneOf(s, Exited, Failed)
	case Stopping:
		in.Kind = Stopped
	case Claiming:
		if in.Kind = Beat; s.IntN(3) > 0 {
			return s.tick()
		}
	case Foreign:
		if in.Kind = Failed; s.IntN(2) == 0 {
			return Input{Kind: Order, Command: oneOf(s, CmdTerminate, CmdRestart), Node: "s"}
		}
	case Isolated:
		if s.IntN(2) > 0 {
			return s.tick()
		}
		return oneOf(s, Input{Kind: Configure, Specs: s.specs(), Boot: true}, Input{Kind: Order, Command: CmdTerminate, Node: "s"})
	case Waiting:
		if s.IntN(8) > 0 {
			return s.tick()
		}
		return Input{Kind: Configure, Specs: s.specs(), Boot: true}
	default:
		return s.tick()
	}
	return in
}

func (s *stroll) tick() Input {
	if due, ok := s.tree.Next(); ok {
		s.now = max(s.now, due)
	}
	return Input{Kind: Tick}
}

// specs is a configuration of always the same nodes.
func (s *stroll) specs() []*Spec {
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 3, Period: time.Minute, Escalation: CoolOff, CoolOff: time.Second})}
	if s.IntN(2) == 0 {
		specs[0].Supervisor.Budget = &Budget{Fleet: Allowance{Restarts: 1, Per: 5 * time.Second}}
	}
	specs = append(specs, sup("s", "root", Supervisor{
		Strategy: oneOf(s, OneForOne, OneForAll, RestForOne, Escalate), MaxRestarts: s.IntN(3), Period: time.Minute,
		Escalation: oneOf(s, ToParent, Terminate, CoolOff, Ignore), CoolOff: time.Second, AutoShutdown: AnySignificant,
	}))
	if own := specs[1].Supervisor; own.Strategy == OneForOne && s.IntN(2) == 0 {
		own.Escalation = Isolate
	}
	specs[1].Restart = oneOf(s, Permanent, Transient, Temporary)
	for _, id := range []string{"a", "b"} {
		a := agent(id, "s")
		a.Restart = oneOf(s, Permanent, Transient, Temporary)
		a.Significant = a.Restart != Permanent && s.IntN(4) == 0
		a.Backoff = backoff.Delays{Delay: time.Duration(s.IntN(2)) * time.Second}
		a.Agent.Runner = oneOf(s, "", AnyRunner)
		a.Agent.Verify, a.Agent.StartDeadline, a.Agent.Stabilisation = true, time.Second, time.Second
		specs = append(specs, a)
	}
	return specs
}
