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
