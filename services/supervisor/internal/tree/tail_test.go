package tree

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// past is a fleet of runners with records, under a tree whose log loses its
// tail now and then.
type past struct {
	t    *rapid.T
	tree *Tree
	now  Instant
	// records are what runners have: by runner and agent.
	records map[string]map[string]Held
	// orders wait to be carried out, inputs to be decided.
	orders []Effect
	inputs []Input
	// own counts the ends that are the agents' own.
	own   int
	saved []Snapshot
	boot  Input
}

func (p *past) step(in Input) {
	p.now = p.now.Add(time.Millisecond)
	effects := p.tree.Step(&in, p.now, nil)
	if in.Kind == Found || in.Kind == Lost {
		p.orders = slices.DeleteFunc(p.orders, func(e Effect) bool { return e.Node == in.Node && e.Incarnation <= in.Incarnation })
	}
	for _, e := range effects {
		if e.Kind == DoStart || e.Kind == DoStop {
			p.orders = append(p.orders, e)
		}
	}
	p.tree.Changes(nil)
	load := map[string]int{}
	for _, n := range p.tree.nodes {
		if n.occupies() {
			load[n.st.Runner]++
		}
	}
	for r, n := range p.tree.load {
		if load[r] != n {
			p.t.Fatalf("%s has %d agents, counted as %d", r, load[r], n)
		}
	}
}

// carryOut has runners do what was ordered, as package fleet does.
func (p *past) carryOut(i int) {
	e := p.orders[i]
	p.orders = slices.Delete(p.orders, i, i+1)
	has := p.records[e.Runner][e.Node]
	reply := Input{Node: e.Node, Incarnation: e.Incarnation, Runner: e.Runner}
	switch {
	case e.Kind == DoStop:
		reply.Kind = Stopped
		if has.State.Live() && has.Incarnation > 0 && has.Incarnation <= e.Incarnation {
			p.end(e.Runner, e.Node, HeldEnded)
		}
	case has.Incarnation == e.Incarnation && has.State.Live():
		reply.Kind = Started
	case has.Incarnation > e.Incarnation && has.State.Live():
		reply.Kind, reply.Incarnation = Found, has.Incarnation
	case has.Incarnation > e.Incarnation:
		reply.Kind, reply.Incarnation = Raised, has.Incarnation
	case has.Incarnation == e.Incarnation && has.State == HeldFailed:
		reply.Kind = Exited
	case has.Incarnation == e.Incarnation:
		reply.Kind = Lost
	default:
		for r, of := range p.records {
			if h, ok := of[e.Node]; ok && h.State.Live() && r != e.Runner {
				p.t.Fatalf("%s#%d is started on %s while #%d lives on %s", e.Node, e.Incarnation, e.Runner, h.Incarnation, r)
			}
		}
		if has.Incarnation > 0 && has.State.Live() {
			p.end(e.Runner, e.Node, HeldEnded) // it is stopped first
		}
		p.records[e.Runner][e.Node] = Held{Agent: e.Node, Incarnation: e.Incarnation, PID: 1}
		reply.Kind = Started
	}
	p.inputs = append(p.inputs, reply)
}

func (p *past) end(runner, agent string, how HeldState) {
	h := p.records[runner][agent]
	h.State = how
	p.records[runner][agent] = h
}

// rollBack makes the tree an earlier one and has every runner visited, before
// any of them takes starts.
func (p *past) rollBack(s Snapshot) {
	t, err := Load(Options{}, s)
	if err != nil {
		p.t.Fatal(err)
	}
	p.tree, p.orders, p.inputs = t, nil, nil
	p.step(p.boot)
	for _, r := range slices.Sorted(maps.Keys(p.records)) {
		held := slices.Collect(maps.Values(p.records[r]))
		slices.SortFunc(held, func(a, b Held) int { return compare(Input{Node: a.Agent}, Input{Node: b.Agent}) })
		inputs, stale := t.Reconcile(Inventory{Runner: r, Expected: t.Expected(r), Held: held})
		for _, in := range inputs {
			if in.Kind == Exited {
				p.own++
			}
			p.step(in)
		}
		for _, h := range stale {
			p.end(r, h.Agent, HeldEnded)
		}
	}
	p.orders = append(p.orders, t.Outstanding()...)
	slices.SortFunc(p.orders, func(a, b Effect) int { return compare(Input{Node: a.Node}, Input{Node: b.Node}) })
	p.orders = slices.CompactFunc(p.orders, func(a, b Effect) bool { return a == b })
}

// Whatever tail the log loses while the runners live on, every agent ends up
// running once, where the tree says that it does, and no end counts that was
// not an agent's own.
func TestTheLogLosesItsTail(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		strategy := rapid.SampledFrom([]Strategy{OneForOne, OneForAll, RestForOne}).Draw(rt, "strategy")
		specs := []*Spec{sup("root", "", Supervisor{Strategy: strategy, MaxRestarts: 1 << 20, Period: time.Hour})}
		runners := []Runner{{Name: "r1"}, {Name: "r2"}}
		p := &past{t: rt, tree: New(Options{}), now: epoch, records: map[string]map[string]Held{"r1": {}, "r2": {}}}
		for i := range 4 {
			r := rapid.SampledFrom([]string{AnyRunner, AnyRunner, "r1", "r2"}).Draw(rt, "runner")
			specs = append(specs, agent(fmt.Sprint("a", i), "root", pinned(r)))
		}
		p.saved = []Snapshot{p.tree.Snapshot()}
		p.boot = Input{Kind: Configure, Specs: specs, Boot: true}
		p.step(p.boot)
		p.step(Input{Kind: Runners, Runners: runners})
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch k := rapid.IntRange(0, 9).Draw(rt, "what"); {
			case k < 4 && len(p.orders) > 0:
				p.carryOut(0)
			case k < 7 && len(p.inputs) > 0:
				in := p.inputs[0]
				p.inputs = p.inputs[1:]
				p.step(in)
			case k == 7:
				p.crash()
			case k == 8:
				p.saved = append(p.saved, p.tree.Snapshot())
			case k == 9:
				p.rollBack(rapid.SampledFrom(p.saved).Draw(rt, "to"))
				p.step(Input{Kind: Runners, Runners: runners})
			}
		}
		p.settle()
	})
}

// crash ends some agent by itself.
func (p *past) crash() {
	for _, r := range slices.Sorted(maps.Keys(p.records)) {
		for _, a := range slices.Sorted(maps.Keys(p.records[r])) {
			if h := p.records[r][a]; h.State.Live() && rapid.Bool().Draw(p.t, "this one") {
				p.end(r, a, HeldFailed)
				p.own++
				p.inputs = append(p.inputs, Input{Kind: Exited, Node: a, Incarnation: h.Incarnation, Reason: "crash"})
				return
			}
		}
	}
}

func (p *past) settle() {
	for n := 0; len(p.orders)+len(p.inputs) > 0; n++ {
		if n > 10_000 {
			p.t.Fatal("it does not come to rest")
		}
		if len(p.orders) > 0 {
			p.carryOut(0)
			continue
		}
		in := p.inputs[0]
		p.inputs = p.inputs[1:]
		p.step(in)
	}
	for _, n := range p.tree.root.kids {
		if n.st.Phase != Running {
			for _, n := range p.tree.root.kids {
				p.t.Logf("%s: %+v", n.spec.ID, n.st)
			}
			p.t.Fatalf("%s is %s (%s), its supervisor does %+v", n.spec.ID, n.st.Phase, n.st.Why, p.tree.root.op())
		}
		for r, of := range p.records {
			h, ok := of[n.spec.ID]
			if live := ok && h.State.Live(); live != (r == n.st.Runner) || live && h.Incarnation != n.st.Incarnation {
				p.t.Fatalf("the tree has %s#%d on %s, runner %s has %+v", n.spec.ID, n.st.Incarnation, n.st.Runner, r, h)
			}
		}
	}
	if charged := len(p.tree.root.st.Supervisor.Window); charged > p.own {
		p.t.Fatalf("%d ends count, %d were the agents' own", charged, p.own)
	}
}
