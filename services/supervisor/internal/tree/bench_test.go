package tree

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

// cycles drives a tree of verified agents on ten runners: one after the other
// exits, is started again, beats and comes to run. That is four inputs: the
// exit, the start's result, the heartbeat, and the tick that ends the
// stabilisation. Changes are taken as often as a supervisor in a storm stores
// them.
type cycles struct {
	tree    *Tree
	names   []string
	now     Instant
	out     []Effect
	changes []Change
	// inputs counts, next is the agent whose turn it is.
	inputs, next int
	incarnation  uint64
}

func newCycles(b *testing.B, agents int) *cycles {
	b.Helper()
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 1 << 40, Period: 1})}
	c := &cycles{now: epoch}
	group := ""
	for i := range agents {
		if i%1000 == 0 {
			group = "group-" + strconv.Itoa(i/1000)
			specs = append(specs, sup(group, "root", Supervisor{MaxRestarts: 1 << 40, Period: 1}))
		}
		name := "agent-" + strconv.Itoa(i)
		c.names = append(c.names, name)
		specs = append(specs, agent(name, group, func(s *Spec) { s.Agent.Runner, s.Agent.Verify = AnyRunner, true }))
	}
	c.tree = New(Options{})
	var runners []Runner
	for i := range 10 {
		runners = append(runners, Runner{Name: "runner-" + strconv.Itoa(i)})
	}
	c.step(Input{Kind: Runners, Runners: runners})
	c.step(Input{Kind: Configure, Specs: specs, Boot: true})
	for _, name := range c.names {
		c.comeUp(name, 1)
	}
	if c.tree.Active() != agents {
		b.Fatalf("%d of %d agents run", c.tree.Active(), agents)
	}
	c.inputs, c.incarnation = 0, 1
	return c
}

func (c *cycles) step(in Input) {
	c.out = c.tree.Step(&in, c.now, c.out[:0])
	if c.inputs++; c.inputs%400 == 0 {
		c.changes = c.tree.Changes(c.changes[:0])
	}
}

func (c *cycles) comeUp(name string, incarnation uint64) {
	c.step(Input{Kind: Started, Node: name, Incarnation: incarnation, PID: 1})
	c.step(Input{Kind: Beat, Node: name, Incarnation: incarnation})
	c.step(Input{Kind: Tick})
}

// turn takes the next agent through a cycle.
func (c *cycles) turn() {
	name := c.names[c.next]
	c.now += 10
	c.step(Input{Kind: Exited, Node: name, Incarnation: c.incarnation, Reason: "exited with code 1", Event: "0195a1b2-0000-7000-8000-000000000001"})
	c.comeUp(name, c.incarnation+1)
	if c.next++; c.next == len(c.names) {
		c.next = 0
		c.incarnation++
	}
}

// BenchmarkInputs measures the inputs that the core takes a second. With -cpu 1
// the collector of garbage has no other processor than the core.
func BenchmarkInputs(b *testing.B) {
	c := newCycles(b, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	spent := processorTime(b)
	for i := 0; i < b.N; i += 4 {
		c.turn()
	}
	spent = processorTime(b) - spent
	b.ReportMetric(float64(c.inputs)/b.Elapsed().Seconds(), "inputs/s")
	b.ReportMetric(float64(c.inputs)/spent.Seconds(), "inputs/cpu-s")
}

// BenchmarkExit measures what one agent's whole cycle costs in trees of different
// sizes.
func BenchmarkExit(b *testing.B) {
	for _, agents := range []int{100, 100_000} {
		b.Run(strconv.Itoa(agents), func(b *testing.B) {
			c := newCycles(b, agents)
			for b.Loop() {
				c.turn()
			}
		})
	}
}

// BenchmarkCopy measures what a copy of a large tree costs, and the longest time
// that its owner cannot do anything else.
func BenchmarkCopy(b *testing.B) {
	t := newCycles(b, 100_000).tree
	t.Changes(nil)
	var longest time.Duration
	for b.Loop() {
		for c, begin := t.Copy(), time.Now(); ; {
			done := c.Take(64)
			longest = max(longest, time.Since(begin))
			if done {
				break
			}
			begin = time.Now()
		}
	}
	b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
