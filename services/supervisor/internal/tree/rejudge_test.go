package tree

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// TestSettingsCountForWhatWaits: the end of an agent that waits for its restart is
// judged by the settings that are configured meanwhile.
func TestSettingsCountForWhatWaits(t *testing.T) {
	t.Parallel()
	specs := func(s Strategy, change ...func(*Spec)) []*Spec {
		a := agent("a", "root", append([]func(*Spec){func(s *Spec) { s.Restart, s.Backoff = Permanent, backoff.Delays{Delay: time.Hour} }}, change...)...)
		return []*Spec{sup("root", "", Supervisor{Strategy: s, MaxRestarts: 9}), a, agent("b", "root")}
	}
	restart := func(r Restart) func(*Spec) { return func(s *Spec) { s.Restart = r } }
	delay := func(d time.Duration) func(*Spec) { return func(s *Spec) { s.Backoff.Delay = d } }
	for name, c := range map[string]struct {
		normal bool
		change func(*Spec)
		// at once and after a minute, an hour and two
		want [4]Phase
	}{
		"nothing":                    {false, func(*Spec) {}, [4]Phase{Waiting, Waiting, Running, Running}},
		"temporary":                  {false, restart(Temporary), [4]Phase{Gone, Gone, Gone, Gone}},
		"transient, and it failed":   {false, restart(Transient), [4]Phase{Waiting, Waiting, Running, Running}},
		"transient, and it finished": {true, restart(Transient), [4]Phase{Idle, Idle, Idle, Idle}},
		"a shorter delay":            {false, delay(time.Minute), [4]Phase{Waiting, Running, Running, Running}},
		"a longer delay":             {false, delay(2 * time.Hour), [4]Phase{Waiting, Waiting, Waiting, Running}},
		"a delay that is over":       {false, delay(time.Millisecond), [4]Phase{Waiting, Running, Running, Running}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs(OneForOne)...)
			b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Normal: c.normal, Reason: "it ended"})
			b.wantPhase("a", Waiting)
			b.now = b.now.Add(time.Second)
			b.do(Input{Kind: Configure, Specs: specs(OneForOne, c.change)})
			for i, d := range []time.Duration{0, time.Minute, time.Hour - time.Minute, time.Hour} {
				if d > 0 {
					b.after(d)
				}
				if got := b.state("a").Phase; got != c.want[i] {
					t.Errorf("step %d: %s, want %s; done: %v", i, got, c.want[i], b.done)
				}
			}
		})
	}
	t.Run("in a group", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, specs(OneForAll)...)
		b.crash("a")
		b.wantPhase("b", Idle)
		b.do(Input{Kind: Configure, Specs: specs(OneForAll, restart(Temporary))})
		b.wantPhase("a", Gone)
		b.after(time.Hour)
		b.wantPhase("a", Gone)
		b.wantPhase("b", Running)
	})
	t.Run("set apart", func(t *testing.T) {
		t.Parallel()
		with := func(change func(*Spec)) []*Spec {
			s := specs(OneForOne, change)
			s[0].Supervisor.MaxRestarts, s[0].Supervisor.Escalation = 0, Isolate
			return s
		}
		b := newBench(t, with(func(*Spec) {})...)
		b.crash("a")
		b.wantPhase("a", Isolated)
		b.do(Input{Kind: Configure, Specs: with(restart(Temporary))})
		b.wantPhase("a", Gone)
	})
}

// TestDelaysCountForGroupsThatWait: a group waits for the longest delay of the members
// that failed, as they are configured meanwhile.
func TestDelaysCountForGroupsThatWait(t *testing.T) {
	t.Parallel()
	specs := func(a, b time.Duration) []*Spec {
		delay := func(d time.Duration) func(*Spec) {
			return func(s *Spec) { s.Backoff = backoff.Delays{Delay: d} }
		}
		return []*Spec{sup("root", "", Supervisor{Strategy: RestForOne, MaxRestarts: 9}), agent("a", "root", delay(a)), agent("b", "root", delay(b)), agent("c", "root")}
	}
	for name, c := range map[string]struct {
		stopping bool // only b has failed, and c has yet to stop
		a, b     time.Duration
		want     time.Duration
	}{
		"nothing":                   {false, time.Hour, 2 * time.Hour, 2 * time.Hour},
		"the longer one is shorter": {false, time.Hour, time.Minute, time.Hour},
		"both are":                  {false, time.Minute, time.Second, time.Minute},
		"both are over":             {false, time.Second, time.Second, 10 * time.Second},
		"one is longer":             {false, 3 * time.Hour, 2 * time.Hour, 3 * time.Hour},
		"while one stops":           {true, 0, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, specs(time.Hour, 2*time.Hour)...)
			since := b.now
			stop := func() { b.raw(Input{Kind: Stopped, Node: "c", Incarnation: 1}) }
			b.raw(Input{Kind: Exited, Node: "b", Incarnation: 1, Reason: "crash"})
			if !c.stopping {
				stop()
				b.raw(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
			}
			b.now = b.now.Add(10 * time.Second)
			b.raw(Input{Kind: Configure, Specs: specs(c.a, c.b)})
			if c.stopping {
				b.now = b.now.Add(10 * time.Second)
				stop()
			}
			due, _ := b.tree.Next()
			b.equal("restarted after", time.Duration(due-since), c.want)
			b.now = due
			b.do(Input{Kind: Tick})
			for _, id := range []string{"a", "b", "c"} {
				b.wantPhase(id, Running)
			}
		})
	}
}

// limited is what counts for a supervisor and its child, as configured.
type limited struct {
	max    int
	period time.Duration
	policy Escalation
	cool   time.Duration
	most   time.Duration
	delay  time.Duration
}

func (l limited) specs(strategy Strategy) []*Spec {
	s := sup("s", "root", Supervisor{Strategy: strategy, MaxRestarts: l.max, Period: l.period, Escalation: l.policy, CoolOff: l.cool, MaxCoolOff: l.most})
	s.Backoff = backoff.Delays{Delay: l.delay}
	return []*Spec{sup("root", "", Supervisor{MaxRestarts: 9, Escalation: Isolate}), s, agent("a", "s"), agent("b", "s")}
}

// TestLimitsCountForWhatIsSetApart: the cool-off, the limit and the escalation that are
// configured while a child is set apart count for it, and nothing is done to its
// siblings.
func TestLimitsCountForWhatIsSetApart(t *testing.T) {
	t.Parallel()
	was := limited{max: 1, period: time.Minute, policy: Isolate, cool: 10 * time.Minute, most: time.Hour}
	for name, c := range map[string]struct {
		change func(*limited)
		// at once, and when it is tried at the latest, since it was set apart
		phase Phase
		after time.Duration
	}{
		"nothing":                  {func(*limited) {}, Isolated, 10 * time.Minute},
		"a shorter cool-off":       {func(l *limited) { l.cool = 2 * time.Minute }, Isolated, 2 * time.Minute},
		"a cool-off that is over":  {func(l *limited) { l.cool = 10 * time.Second }, Isolated, time.Minute},
		"a longer cool-off":        {func(l *limited) { l.cool = 20 * time.Minute }, Isolated, 20 * time.Minute},
		"a longest cool-off":       {func(l *limited) { l.most = 5 * time.Minute }, Isolated, 10 * time.Minute},
		"a higher limit":           {func(l *limited) { l.max = 2 }, Running, 0},
		"a lower limit":            {func(l *limited) { l.max = 0 }, Isolated, 10 * time.Minute},
		"a shorter period":         {func(l *limited) { l.period = time.Second }, Running, 0},
		"a longer period":          {func(l *limited) { l.period = time.Hour }, Isolated, 10 * time.Minute},
		"escalation escalate":      {func(l *limited) { l.policy = ToParent }, Running, 0},
		"escalation terminate":     {func(l *limited) { l.policy = Terminate }, Running, 0},
		"escalation restart":       {func(l *limited) { l.policy = CoolOff }, Running, 0},
		"escalation ignore":        {func(l *limited) { l.policy = Ignore }, Running, 0},
		"escalation and cool-off":  {func(l *limited) { l.policy, l.cool = CoolOff, time.Second }, Running, 0},
		"a limit that is no limit": {func(l *limited) { l.max = 1_000_000 }, Running, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, was.specs(OneForOne)...)
			b.crash("a")
			b.crash("a")
			b.wantPhase("a", Isolated)
			since := b.now
			b.now = b.now.Add(time.Minute)
			is := was
			c.change(&is)
			b.apply(1, is.specs(OneForOne)...)
			if c.phase == Running {
				b.wantPhase("a", Starting)
				b.equal("is followed", b.tree.Rolling() != nil, true)
				b.do(Input{Kind: Started, Node: "a", Incarnation: b.state("a").Incarnation})
				b.equal("is followed when it runs", b.tree.Rolling() != nil, false)
				b.equal("failures", b.state("a").Isolation == nil && b.state("a").Attempts == 0, true)
			} else {
				b.wantPhase("a", Isolated)
				due, _ := b.tree.Next()
				b.equal("tried after", due, since.Add(c.after))
				b.now = due
				b.do(Input{Kind: Tick})
			}
			b.wantPhase("a", Running)
			b.equal("its sibling", b.state("b").Incarnation, uint64(1))
		})
	}
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, was.specs(OneForOne)...)
		b.crash("a")
		b.crash("a")
		specs := was.specs(OneForOne)
		specs[2].Parent = "root"
		b.do(Input{Kind: Configure, Specs: append(specs[:1:1], specs[2], specs[1], specs[3])})
		b.wantPhase("a", Isolated)
		b.after(10 * time.Minute)
		b.wantPhase("a", Running)
	})
	t.Run("suspended", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, was.specs(OneForOne)...)
		b.crash("a")
		b.crash("a")
		b.do(Input{Kind: Order, Command: CmdSuspend, Node: "s"})
		is := was
		is.max = 5
		b.do(Input{Kind: Configure, Specs: is.specs(OneForOne)})
		b.wantPhase("a", Isolated)
		b.do(Input{Kind: Order, Command: CmdResume, Node: "s"})
		b.after(0)
		b.wantPhase("a", Running)
	})
}

// TestLimitsCountForWhatCoolsOff: the same holds for a supervisor that has exceeded its
// limit, as far as its policy is to start it again.
func TestLimitsCountForWhatCoolsOff(t *testing.T) {
	t.Parallel()
	was := limited{max: 1, period: time.Minute, policy: CoolOff, cool: 10 * time.Minute, delay: time.Hour}
	for name, c := range map[string]struct {
		change func(*limited)
		phase  Phase
		end    End
		after  time.Duration
	}{
		"nothing":                         {func(*limited) {}, Waiting, EndCooling, 10 * time.Minute},
		"a shorter cool-off":              {func(l *limited) { l.cool = 2 * time.Minute }, Waiting, EndCooling, 2 * time.Minute},
		"one that is over":                {func(l *limited) { l.cool = time.Second }, Waiting, EndCooling, time.Minute},
		"a longer cool-off":               {func(l *limited) { l.cool = 20 * time.Minute }, Waiting, EndCooling, 20 * time.Minute},
		"another delay":                   {func(l *limited) { l.delay = time.Second }, Waiting, EndCooling, 10 * time.Minute},
		"a higher limit":                  {func(l *limited) { l.max = 2 }, Running, "", 0},
		"a lower limit":                   {func(l *limited) { l.max = 0 }, Waiting, EndCooling, 10 * time.Minute},
		"escalation ignore":               {func(l *limited) { l.policy = Ignore }, Running, "", 0},
		"escalation isolate":              {func(l *limited) { l.policy = Isolate }, Running, "", 0},
		"escalation terminate":            {func(l *limited) { l.policy = Terminate }, Idle, EndGaveUp, 0},
		"escalation escalate":             {func(l *limited) { l.policy = ToParent }, Waiting, EndShutdown, time.Minute + time.Hour},
		"terminate, but within the limit": {func(l *limited) { l.policy, l.max = Terminate, 5 }, Running, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, was.specs(OneForOne)...)
			b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Reason: "crash"})
			b.do(Input{Kind: Exited, Node: "a", Incarnation: 2, Reason: "crash"})
			b.wantPhase("s", Waiting)
			since := b.now
			b.now = b.now.Add(time.Minute)
			is := was
			c.change(&is)
			b.took()
			b.do(Input{Kind: Configure, Specs: is.specs(OneForOne), Configuration: &Configuration{Digest: "2", MaxUnavailable: 1}})
			b.wantPhase("s", c.phase)
			b.equal("end", b.state("s").End, c.end)
			if c.after > 0 {
				due, _ := b.tree.Next()
				b.equal("starts after", due, since.Add(c.after))
				b.now = due
				b.do(Input{Kind: Tick})
			}
			if c.phase != Idle {
				b.wantPhase("s", Running)
				b.wantPhase("a", Running)
			}
			b.equal("rolling", b.tree.Rolling() == nil, true)
		})
	}
}

// A supervisor that waits for its restart is judged again like an agent, and so is the
// root that cools off.
func TestSettingsCountForSupervisorsThatWait(t *testing.T) {
	t.Parallel()
	was := limited{period: time.Minute, policy: ToParent, delay: time.Hour}
	fail := func(t *testing.T) *bench {
		b := newBench(t, was.specs(OneForOne)...)
		b.crash("a")
		b.wantPhase("s", Waiting)
		return b
	}
	b := fail(t)
	is := was
	is.delay = time.Minute
	b.do(Input{Kind: Configure, Specs: is.specs(OneForOne)})
	b.after(time.Minute)
	b.wantPhase("a", Running)

	b = fail(t)
	specs := was.specs(OneForOne)
	specs[1].Restart = Temporary
	b.do(Input{Kind: Configure, Specs: specs})
	b.wantPhase("s", Gone)

	root := func(policy Escalation, cool time.Duration) []*Spec {
		return []*Spec{sup("root", "", Supervisor{Escalation: policy, CoolOff: cool}), agent("a", "root")}
	}
	b = newBench(t, root(CoolOff, time.Hour)...)
	b.crash("a")
	b.wantPhase("root", Waiting)
	b.do(Input{Kind: Configure, Specs: root(CoolOff, time.Minute)})
	b.wantPhase("root", Waiting)
	b.took()
	b.do(Input{Kind: Configure, Specs: root(Terminate, 0)})
	b.wantPhase("root", Idle)
	b.equal("done", b.took(), "give_up root, down root, reply ok")
	b.equal("end", b.state("root").End, EndGaveUp)
}
