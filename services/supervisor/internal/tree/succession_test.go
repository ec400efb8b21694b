package tree

import (
	"strings"
	"testing"
	"time"
)

// starting names the agents whose start is ordered.
func (b *bench) starting() string {
	var out []string
	for _, e := range b.tree.Outstanding() {
		if e.Kind == DoStart {
			out = append(out, e.Node)
		}
	}
	return strings.Join(out, " ")
}

// What a configuration adds starts when what it removes has ended, wherever either is,
// and for whatever successor takes over; nobody else is touched.
func TestAddedAgentsStartWhenRemovedOnesHaveEnded(t *testing.T) {
	t.Parallel()
	for _, strategy := range []Strategy{OneForOne, OneForAll, RestForOne} {
		root, group := sup("root", "", Supervisor{MaxRestarts: 9}), sup("group", "root", Supervisor{Strategy: strategy, MaxRestarts: 9})
		under := func(agents ...string) []*Spec {
			specs := []*Spec{root, group, agent("other", "group")}
			for _, a := range agents {
				name, parent, _ := strings.Cut(a, "@")
				specs = append(specs, agent(name, parent))
			}
			return specs
		}
		b := newBench(t, under("old@group", "older@root")...)
		b.raw(Input{Kind: Configure, Specs: under("new@group", "newer@root"), Boot: true})
		b.equal("stopping", b.stopping(), "old older")
		b.equal("starting", b.starting(), "")
		b.wantPhase("new", Unplaced)
		b.tree = roundTrip(t, b.tree, Options{})
		b.equal("it waits for", strings.Join(b.tree.AwaitsEnd("new"), " "), "old older")
		b.equal("for a runner", b.tree.Unplaced(), 0)
		b.raw(Input{Kind: Stopped, Node: "old", Incarnation: 1})
		b.equal("when one has ended", b.starting(), "")
		b.raw(Input{Kind: Runners, Runners: []Runner{{Name: "r"}}})
		b.equal("when a runner comes", b.starting(), "")
		b.raw(Input{Kind: Stopped, Node: "older", Incarnation: 1})
		b.equal("when both have", b.starting(), "new newer")
		b.do(Input{Kind: Started, Node: "new", Incarnation: 1})
		b.do(Input{Kind: Started, Node: "newer", Incarnation: 1})
		b.equal("the other", b.state("other").Incarnation, uint64(1))
		if due, waits := b.tree.Next(); waits && due == forever {
			t.Error("a timer is left")
		}
	}
}

// What is removed holds up what is added for no longer than it has to end, and a kill.
func TestRemovedAgentsHoldUpForABoundedTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		removed []*Spec
		want    time.Duration // 0: until it has ended
	}{
		"an agent":               {[]*Spec{agent("x", "root", lasts(7*time.Second))}, 12 * time.Second},
		"the slowest":            {[]*Spec{agent("x", "root", lasts(time.Second)), agent("y", "root", lasts(9*time.Second))}, 14 * time.Second},
		"without a bound":        {[]*Spec{agent("x", "root", lasts(0))}, 0},
		"side by side":           {[]*Spec{sup("s", "root", Supervisor{}), agent("x", "s", lasts(time.Second)), agent("y", "s", lasts(2*time.Second))}, 7 * time.Second},
		"one after another":      {[]*Spec{sup("s", "root", Supervisor{Strategy: OneForAll}), agent("x", "s", lasts(time.Second)), agent("y", "s", lasts(2*time.Second))}, 13 * time.Second},
		"a supervisor's timeout": {[]*Spec{{ID: "s", Parent: "root", ShutdownTimeout: 3 * time.Second, Supervisor: sup("", "", Supervisor{Strategy: OneForAll}).Supervisor}, agent("x", "s", lasts(0))}, 8 * time.Second},
	} {
		root := sup("root", "", Supervisor{MaxRestarts: 9})
		b := newBench(t, append([]*Spec{root}, c.removed...)...)
		b.raw(Input{Kind: Configure, Specs: []*Spec{root, agent("new", "root")}})
		due, bounded := b.tree.Next()
		b.equal(name+": bounded", bounded, c.want > 0)
		if !bounded {
			continue
		}
		b.equal(name, time.Duration(due-b.now), c.want)
		b.now = due
		b.raw(Input{Kind: Tick})
		b.equal(name+": starting", b.starting(), "new")
	}
}

func lasts(d time.Duration) func(*Spec) { return func(s *Spec) { s.ShutdownTimeout = d } }

// One that is configured again is waited for no longer: it is not removed.
func TestReadmittedAgentsHoldUpNothing(t *testing.T) {
	t.Parallel()
	root := sup("root", "", Supervisor{MaxRestarts: 9})
	b := newBench(t, root, agent("old", "root"))
	b.raw(Input{Kind: Configure, Specs: []*Spec{root, agent("new", "root")}})
	b.raw(Input{Kind: Configure, Specs: []*Spec{root, agent("new", "root"), agent("old", "root")}})
	b.equal("starting", b.starting(), "new")
	b.equal("stopping", b.stopping(), "old")
}
