package rehearsal

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const ms = contracts.Duration(time.Millisecond)

// crashes lets the first n incarnations of an agent exit after a while.
func crashes(agent string, n uint64, after time.Duration) func(string, uint64) (time.Duration, tree.Input) {
	return func(who string, incarnation uint64) (time.Duration, tree.Input) {
		if who == agent && incarnation <= n {
			return after, tree.Input{Kind: tree.Exited, Reason: "exited with code 1"}
		}
		return 0, tree.Input{}
	}
}

// changedGroup changes supervisor g of a copy.
func changedGroup(specs []*tree.Spec, f func(g *tree.Supervisor)) []*tree.Spec {
	return changed(specs, func(s *tree.Spec) {
		if s.ID == "g" {
			f(s.Supervisor)
		}
	})
}

// changed copies specs and changes those of the copies that f changes.
func changed(specs []*tree.Spec, f func(*tree.Spec)) []*tree.Spec {
	out := make([]*tree.Spec, len(specs))
	for i, s := range specs {
		c := *s
		if s.Agent != nil {
			a := *s.Agent
			c.Agent = &a
		}
		if s.Supervisor != nil {
			v := *s.Supervisor
			c.Supervisor = &v
		}
		f(&c)
		out[i] = &c
	}
	return out
}

// rehearse runs twice and fails when the reports differ.
func rehearse(t *testing.T, rec Record, opt Options) contracts.RehearseReply {
	t.Helper()
	var last []byte
	var reply contracts.RehearseReply
	for range 3 {
		var err error
		if reply, err = Run(rec, opt); err != nil {
			t.Fatal(err)
		}
		raw, err := json.MarshalIndent(reply, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && string(last) != string(raw) {
			t.Fatalf("not deterministic:\n%s\n%s", last, raw)
		}
		last = raw
	}
	if !reply.Faithful {
		t.Errorf("the record itself does not come out as it was: %s", last)
	}
	t.Logf("%s", last)
	return reply
}

func agent(t *testing.T, r contracts.RehearseReply, name string) contracts.RehearsalAgent {
	t.Helper()
	i := slices.IndexFunc(r.Agents, func(a contracts.RehearsalAgent) bool { return a.Agent == name })
	if i < 0 {
		t.Fatalf("no agent %s in %+v", name, r.Agents)
	}
	return r.Agents[i]
}

func TestLongerBackoff(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 5, "a", "b"))
	s := newScene(t, specs, crashes("a", 2, 500*time.Millisecond))
	s.play(5 * time.Second)
	got := rehearse(t, s.state(0), Options{Specs: changed(specs, func(s *tree.Spec) {
		if s.ID == "a" {
			s.Backoff.Delay = time.Second
		}
	})})
	a := agent(t, got, "a")
	// Three starts of 30 ms each until it serves, and two waits between.
	want := contracts.RehearsalAgent{
		Agent:     "a",
		Recorded:  contracts.RehearsalLife{Starts: 3, Restarts: 2, Downtime: (90 + 2*101) * ms, Waiting: 2 * 101 * ms, Phase: "running"},
		Rehearsed: contracts.RehearsalLife{Starts: 3, Restarts: 2, Downtime: (90 + 2*1000) * ms, Waiting: 2000 * ms, Phase: "running"},
	}
	if a != want {
		t.Errorf("got  %+v\nwant %+v", a, want)
	}
	if f := got.First; f == nil || f.Decision == 0 || len(f.Recorded) != 1 || !strings.HasPrefix(f.Rehearsed[0], "delay a incarnation 1 until") {
		t.Errorf("first: %+v", f)
	}
	// The second incarnation's two beats of life and its exit come later.
	if got.Assumed.Starts != 0 || got.Assumed.Unended != 0 || got.Assumed.Dropped != 0 || got.Assumed.Shifted == 0 {
		t.Errorf("assumed %+v", got.Assumed)
	}
	b := agent(t, got, "b")
	if b.Recorded != b.Rehearsed {
		t.Errorf("b has nothing to do with it: %+v", b)
	}
}

func TestHigherLimit(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 2, "a", "b"))
	specs[0].Supervisor.MaxRestarts = 0
	s := newScene(t, specs, crashes("a", 3, 200*time.Millisecond))
	s.play(5 * time.Second)
	higher := changedGroup(specs, func(g *tree.Supervisor) { g.MaxRestarts = 10 })
	got := rehearse(t, s.state(0), Options{Specs: higher})
	if got.Recorded.GiveUps != 1 || got.Recorded.Down != 2 || got.Rehearsed.GiveUps != 0 || got.Rehearsed.Down != 0 {
		t.Errorf("recorded %+v, rehearsed %+v", got.Recorded, got.Rehearsed)
	}
	if got.Recorded.Restarts != 2 || got.Rehearsed.Restarts != 3 || got.Assumed.Starts != 1 || got.Assumed.Unended != 1 {
		t.Errorf("recorded %+v, rehearsed %+v, assumed %+v", got.Recorded, got.Rehearsed, got.Assumed)
	}
	if f := got.First; f == nil || !slices.ContainsFunc(f.Recorded, func(s string) bool { return s == "escalate g" }) || !strings.HasPrefix(f.Rehearsed[0], "delay a incarnation 3") {
		t.Errorf("first: %+v", f)
	}
	if b := agent(t, got, "b"); b.Rehearsed.Downtime != 30*ms || b.Recorded.Downtime < 1000*ms {
		t.Errorf("b: %+v", b)
	}
	pessimist := rehearse(t, s.state(0), Options{Specs: higher, Repeat: true})
	if pessimist.Rehearsed.Restarts != 10 || pessimist.Rehearsed.GiveUps != 1 {
		t.Errorf("crashing on and on: %+v", pessimist.Rehearsed)
	}
}

func TestLowerLimit(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 5, "a", "b"))
	s := newScene(t, specs, crashes("a", 4, 200*time.Millisecond))
	s.play(5 * time.Second)
	got := rehearse(t, s.state(0), Options{Specs: changedGroup(specs, func(g *tree.Supervisor) { g.MaxRestarts, g.Escalation = 1, tree.Terminate })})
	if got.Rehearsed.Escalations != 1 || got.Rehearsed.Restarts != 1 || got.Rehearsed.Down != 2 || got.Recorded.Down != 0 {
		t.Errorf("recorded %+v, rehearsed %+v", got.Recorded, got.Rehearsed)
	}
	// The ends of incarnations 3 and 4 never come.
	if got.Assumed.Dropped != 2 || got.Assumed.Starts != 0 {
		t.Errorf("assumed %+v", got.Assumed)
	}
}

func TestOtherStrategy(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForAll, 5, "a", "b"))
	s := newScene(t, specs, crashes("a", 1, 500*time.Millisecond))
	s.play(3 * time.Second)
	apart := changedGroup(specs, func(g *tree.Supervisor) { g.Strategy = tree.OneForOne })
	got := rehearse(t, s.state(0), Options{Specs: apart})
	if b := agent(t, got, "b"); b.Recorded.Starts != 2 || b.Rehearsed.Starts != 1 || b.Rehearsed.Downtime >= b.Recorded.Downtime {
		t.Errorf("b: %+v", b)
	}
	if got.Rehearsed.Down != 0 {
		t.Errorf("rehearsed %+v", got.Rehearsed)
	}
	// The other way round nobody can know how long b takes to stop.
	one := newScene(t, apart, s.fail)
	one.play(3 * time.Second)
	got = rehearse(t, one.state(0), Options{Specs: specs})
	if got.Assumed.Stops != 1 || got.Assumed.Starts != 1 || agent(t, got, "b").Rehearsed.Starts != 2 {
		t.Errorf("assumed %+v", got.Assumed)
	}
}

func TestShorterDeadline(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 2, "a"))
	specs[0].Supervisor.MaxRestarts = 0
	s := newScene(t, specs, nil)
	s.play(time.Second)
	got := rehearse(t, s.state(0), Options{Specs: changed(specs, func(s *tree.Spec) {
		if s.Agent != nil {
			s.Agent.StartDeadline = 5 * time.Millisecond // it takes 10 from acknowledgement to beat
		}
	})})
	if f := got.First; f == nil || f.Decision != 0 || !slices.Equal(f.Rehearsed, []string{"emit a incarnation 1 on r1"}) || f.Recorded != nil {
		t.Fatalf("first: %+v", f)
	}
	if got.Rehearsed.GiveUps != 1 || got.Recorded.GiveUps != 0 {
		t.Errorf("recorded %+v, rehearsed %+v", got.Recorded, got.Rehearsed)
	}
}

// TestFromTheMiddle begins when agents run already, with one agent less and one
// more.
func TestFromTheMiddle(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 5, "a", "b"))
	s := newScene(t, specs, crashes("a", 1, 2*time.Second))
	s.play(time.Second)
	n := len(s.log)
	s.play(3 * time.Second)
	other := append(changed(specs[:3], func(*tree.Spec) {}), group("h", tree.OneForOne, 1, "new")...)
	got := rehearse(t, s.state(n), Options{Specs: other})
	if f := got.First; f == nil || f.Decision != 0 || len(f.Rehearsed) == 0 || len(f.Inputs) != 1 {
		t.Fatalf("first: %+v", f)
	}
	if a := agent(t, got, "a"); a.Rehearsed.Restarts != 1 || a.Rehearsed.Downtime != 130*ms || a.Recorded.Downtime != 131*ms {
		t.Errorf("a: %+v", a)
	}
	if b := agent(t, got, "b"); b.Rehearsed.Phase != "" || b.Recorded.Phase != "running" {
		t.Errorf("b: %+v", b)
	}
	if c := agent(t, got, "new"); c.Rehearsed.Phase != "running" || c.Recorded.Phase != "" || c.Rehearsed.Starts != 1 {
		t.Errorf("new: %+v", c)
	}
}

// TestOrdersAndDowntime: what an operator restarts is down until it serves
// again; what an operator terminates, with all below it, is not meant to be up,
// from the order on also when that must wait.
func TestOrdersAndDowntime(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForAll, 5, "a", "b"), group("h", tree.OneForOne, 5, "c", "d"), group("i", tree.OneForOne, 5, "e"))
	specs[7].Restart = tree.Temporary
	s := newScene(t, specs, crashes("b", 1, time.Second))
	order := func(c tree.CommandKind, node string) {
		s.step(tree.Input{Kind: tree.Order, Command: c, Node: node, Token: node})
	}
	s.play(500 * time.Millisecond)
	order(tree.CmdRestart, "c")
	order(tree.CmdTerminate, "d")
	order(tree.CmdTerminate, "i")
	// b starts 30 ms after a and crashes at 1.03 s. a stops for it.
	s.play(540 * time.Millisecond)
	order(tree.CmdTerminate, "a") // waits for the group
	s.play(5 * time.Second)
	got := rehearse(t, s.state(0), Options{Specs: specs})
	for name, want := range map[string]contracts.RehearsalLife{
		"a": {Starts: 1, Downtime: (30 + 10) * ms, Phase: "idle"},
		"c": {Starts: 2, Downtime: (30 + 40 + 30) * ms, Phase: "running"},
		"d": {Starts: 1, Downtime: 30 * ms, Phase: "idle"},
		"e": {Starts: 1, Downtime: 30 * ms, Phase: "idle"},
	} {
		if a := agent(t, got, name); a.Recorded != want || a.Rehearsed != want {
			t.Errorf("%s: got %+v, want %+v on both sides", name, a, want)
		}
	}
	if got.Recorded.Down != 0 {
		t.Errorf("%d are down at the end, want none", got.Recorded.Down)
	}
}

// TestMovedAgents: what is below a supervisor that an operator has terminated is
// not down, also when it was moved there.
func TestMovedAgents(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 5, "a", "b"), group("h", tree.OneForOne, 5, "c"))
	s := newScene(t, specs, func(string, uint64) (time.Duration, tree.Input) { return 0, tree.Input{} })
	s.play(500 * time.Millisecond)
	s.step(tree.Input{Kind: tree.Order, Command: tree.CmdMove, Node: "a", To: "h", Token: "move"})
	s.play(500 * time.Millisecond)
	s.step(tree.Input{Kind: tree.Order, Command: tree.CmdTerminate, Node: "h", Token: "stop"})
	s.play(5 * time.Second)
	got := rehearse(t, s.state(0), Options{Specs: specs})
	for _, name := range []string{"a", "c"} {
		want := contracts.RehearsalLife{Starts: 1, Downtime: 30 * ms, Phase: "idle"}
		if a := agent(t, got, name); a.Recorded != want || a.Rehearsed != want {
			t.Errorf("%s: got %+v, want %+v on both sides", name, a, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	specs := forest(group("g", tree.OneForOne, 5, "a", "b"))
	s := newScene(t, specs, nil)
	s.play(time.Second)
	other := changed(specs, func(s *tree.Spec) {
		if s.ID == "b" {
			s.Agent, s.Supervisor = nil, &tree.Supervisor{Strategy: tree.OneForOne}
		}
	})
	if _, err := Run(s.state(len(s.log)-1), Options{Specs: other}); !errors.Is(err, ErrConfig) {
		t.Errorf("an agent that is a supervisor: %v", err)
	}
	old := s.state(0)
	old.Past = slices.Clone(old.Past)
	for i, d := range old.Past {
		again := *d
		old.Past[i] = &again
		old.Past[i].Inputs = slices.Clone(old.Past[i].Inputs)
		for k := range old.Past[i].Inputs {
			old.Past[i].Inputs[k].Data = nil
		}
	}
	if _, err := Run(old, Options{Specs: specs}); !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), "decision 2") {
		t.Errorf("recorded without data: %v", err)
	}
	// A program that decides otherwise than the log is noticed.
	odd := s.state(0)
	odd.Past = slices.Clone(odd.Past)
	last := *odd.Past[len(odd.Past)-1]
	odd.Past[len(odd.Past)-1] = &last
	last.Effects = append(slices.Clone(last.Effects), contracts.DecisionEffect{Kind: "start", Node: "a", Incarnation: 9})
	if got, err := Run(odd, Options{Specs: specs}); err != nil || got.Faithful || got.Deviation != last.Number {
		t.Errorf("%+v, %v; want a deviation at %d", got, err, last.Number)
	}
	// Endless restarts without delay end.
	loop := changed(specs, func(s *tree.Spec) {
		s.Backoff = backoff.Delays{}
		if s.Supervisor != nil {
			s.Supervisor.Escalation = tree.Ignore
		}
	})
	crash := newScene(t, specs, func(string, uint64) (time.Duration, tree.Input) {
		return 0, tree.Input{Kind: tree.StartFailed, Reason: "no such program"}
	})
	crash.play(10 * time.Second)
	if _, err := Run(crash.state(0), Options{Specs: loop, Repeat: true}); !errors.Is(err, ErrEndless) {
		t.Errorf("endless: %v", err)
	}
}

// TestAppliedConfiguration: a configuration that was applied, and the rolling
// restart that it began, come out as recorded when they are decided again; under
// the new configuration from the beginning there is nothing to restart.
func TestAppliedConfiguration(t *testing.T) {
	t.Parallel()
	built := func(build string) []*tree.Spec {
		return changed(forest(group("g", tree.OneForOne, 5, "a", "b"), group("h", tree.OneForOne, 5, "c")), func(s *tree.Spec) {
			if s.Agent != nil {
				a := *s.Agent
				a.Build = build
				s.Agent = &a
			}
		})
	}
	s := newScene(t, built("1"), func(string, uint64) (time.Duration, tree.Input) { return 0, tree.Input{} })
	s.play(time.Second)
	for i, specs := range [][]*tree.Spec{built("2"), built("2"), built("1")} {
		s.specs = specs
		s.step(tree.Input{Kind: tree.Configure, Specs: specs, Configuration: &tree.Configuration{Source: "f", Digest: string(rune('a' + i)), MaxUnavailable: 1}})
		s.play(100 * time.Millisecond)
	}
	s.takeOver()
	s.play(5 * time.Second)
	if r := s.tree.Rolling(); r != nil {
		t.Fatalf("the rolling restart never ends: %+v", r)
	}
	got := rehearse(t, s.state(0), Options{Specs: built("1")})
	if got.Recorded.Starts <= got.Rehearsed.Starts || got.Rehearsed.Starts != 3 {
		t.Errorf("starts: recorded %d, rehearsed %d", got.Recorded.Starts, got.Rehearsed.Starts)
	}
}
