package tree

import (
	"strings"
	"testing"
	"time"
)

func TestSlidingWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// at are the seconds of crashes; the last is the first that is too
		// much, unless ok.
		at []int
		ok bool
	}{
		{"one more than allowed", []int{0, 1, 2, 3}, false},
		{"exactly the limit", []int{0, 1, 2}, true},
		{"the first has left the window", []int{0, 5, 6, 61}, true},
		{"the first is just still in it", []int{0, 5, 6, 60}, false},
		{"slow for ever", []int{0, 30, 60, 90, 120, 150, 180, 210}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 3}), agent("a", "root"))
			for i, s := range c.at {
				b.wantPhase("root", Running)
				b.now = epoch.Add(time.Duration(s) * time.Second)
				b.crash("a")
				if up := b.state("root").Phase == Running; up != (c.ok || i < len(c.at)-1) {
					t.Fatalf("after crash %d at %d s: running %v", i+1, s, up)
				}
			}
		})
	}
}

func TestEscalationPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Escalation
		want   string
		sup    Phase
		later  Phase
	}{
		{"", "escalate s, stop b, down s, restart s, boot s, start a, start b", Running, Running},
		{ToParent, "escalate s, stop b, down s, restart s, boot s, start a, start b", Running, Running},
		{Terminate, "terminate s, stop b, down s", Idle, Idle},
		{CoolOff, "cool_off s, stop b", Waiting, Running},
		{Ignore, "ignore s, restart a, start a", Running, Running},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}),
				sup("s", "root", Supervisor{MaxRestarts: 1, Escalation: c.policy, CoolOff: 10 * time.Second}),
				agent("a", "s"), agent("b", "s"), agent("z", "root"))
			b.crash("a")
			b.took()
			b.crash("a")
			got := strings.ReplaceAll(strings.ReplaceAll(b.took(), ", running a", ""), ", running b", "")
			if got != c.want {
				t.Errorf("done %s\nwant %s", got, c.want)
			}
			b.wantPhase("s", c.sup)
			b.wantPhase("z", Running)
			b.after(10 * time.Second)
			b.wantPhase("s", c.later)
			if c.later == Running {
				b.wantPhase("a", Running)
				b.wantPhase("b", Running)
			}
		})
	}
}

func TestRootPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Escalation
		note   string
		later  Phase
	}{
		{ToParent, "give_up root", Idle}, {Terminate, "give_up root", Idle}, {CoolOff, "cool_off root", Running}, {Ignore, "ignore root", Running},
	} {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 0, Escalation: c.policy, CoolOff: time.Second}), agent("a", "root"))
		b.took()
		b.crash("a")
		if got := b.took(); !strings.HasPrefix(got, c.note) {
			t.Errorf("%s: %s", c.policy, got)
		}
		b.after(time.Second)
		b.wantPhase("root", c.later)
	}
}

func TestEscalateStrategyFailsAbnormally(t *testing.T) {
	t.Parallel()
	s := sup("s", "root", Supervisor{Strategy: Escalate, MaxRestarts: 9})
	s.Restart = Transient // restarted, because the end was abnormal
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 1}), s, agent("a", "s"), agent("b", "s"))
	b.took()
	b.crash("a")
	b.wantPhase("b", Running)
	if got := b.took(); !strings.HasPrefix(got, "escalate s, stop b, down s, restart s, boot s") {
		t.Error(got)
	}
}
