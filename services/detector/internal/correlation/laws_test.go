package correlation

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// Whatever happens in whatever order: each verdict is released or withdrawn
// within the bound, never both and never twice; no more are released than the
// rate allows; with fewer silent than the minimum nothing is held; findings
// begin with enough members and end; and the same calls give the same effects.
func TestLaws(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		cfg := Config{
			Share:       rapid.SampledFrom([]float64{0.2, 0.5, 1}).Draw(t, "share"),
			Minimum:     rapid.IntRange(2, 6).Draw(t, "minimum"),
			Window:      time.Duration(rapid.IntRange(1, 10).Draw(t, "window")) * time.Second,
			Hold:        time.Duration(rapid.IntRange(1, 20).Draw(t, "hold")) * time.Second,
			ReleaseRate: float64(rapid.IntRange(1, 20).Draw(t, "rate")),
		}
		agents := rapid.IntRange(1, 40).Draw(t, "agents")
		all := make([]Member, agents)
		sizes := map[Group]int{}
		for i := range all {
			all[i] = Member{
				Agent: fmt.Sprint("a", i), Incarnation: 1, Interval: time.Second,
				Runner: rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "runner"),
				Type:   rapid.SampledFrom([]string{"", "x"}).Draw(t, "type"),
			}
			groups, n := all[i].groups()
			for _, g := range groups[:n] {
				sizes[g]++
			}
		}
		census := func(g Group) int { return sizes[g] }
		one, err := New(cfg, census)
		if err != nil {
			t.Fatal(err)
		}
		two, _ := New(cfg, census)
		law := &law{t: t, cfg: cfg, pending: map[string]Instant{}, bound: cfg.Hold + ReleaseWithin + time.Duration(float64(agents)/cfg.ReleaseRate*float64(time.Second)) + time.Second}
		now := Instant(0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			m := all[rapid.IntRange(0, agents-1).Draw(t, "agent")]
			var a, b []Effect
			law.calm = len(one.silent) < cfg.Minimum-1 && len(one.open) == 0 && !one.Held(m.Agent)
			switch step := rapid.IntRange(-1, 9).Draw(t, "step"); step {
			case -1:
				_, a = one.Ended(now, m)
				_, b = two.Ended(now, m)
				delete(law.pending, m.Agent)
			case 0, 1, 2:
				a, b = one.Suspect(now, m), two.Suspect(now, m)
			case 3, 4, 5:
				if e := one.silent[m.Agent]; e != nil && e.stage == proven {
					continue // whose end is proven, nobody condemns
				}
				if _, waits := law.pending[m.Agent]; !waits {
					law.pending[m.Agent] = now
				}
				a, b = one.Verdict(now, m), two.Verdict(now, m)
				if law.calm && one.Held(m.Agent) {
					t.Fatalf("held with %d silent", len(one.silent))
				}
			case 6:
				_, a = one.Back(now, m.Agent)
				_, b = two.Back(now, m.Agent)
				delete(law.pending, m.Agent)
			case 7:
				_, a = one.Gone(now, m.Agent)
				_, b = two.Gone(now, m.Agent)
				delete(law.pending, m.Agent)
			default:
				for range rapid.IntRange(1, 60).Draw(t, "ticks") {
					now += tick
					law.check(now, one.Tick(now), two.Tick(now))
				}
				continue
			}
			law.check(now, a, b)
			law.consistent(one)
		}
		for range int(law.bound/tick) + 2 {
			now += tick
			law.check(now, one.Tick(now), two.Tick(now))
		}
		now += time.Hour
		law.check(now, one.Tick(now), two.Tick(now))
		law.consistent(one)
		if len(law.pending) > 0 || one.held > 0 || len(one.open) > 0 || len(one.silent) > 0 || len(one.due) > 0 || len(one.crowds) > 0 {
			t.Fatalf("left at the end: %v; %d held, %d open, %d silent, %d due", law.pending, one.held, len(one.open), len(one.silent), len(one.due))
		}
	})
}

const tick = 100 * time.Millisecond

type law struct {
	t        *rapid.T
	cfg      Config
	pending  map[string]Instant
	bound    time.Duration
	calm     bool
	releases []Instant // of held verdicts
	open     int
}

func (l *law) check(now Instant, got, again []Effect) {
	if len(got) != len(again) {
		l.t.Fatalf("the same calls gave %d and %d effects", len(got), len(again))
	}
	for i, e := range got {
		if again[i].What != e.What || again[i].Member != e.Member {
			l.t.Fatalf("the same calls gave %+v and %+v", e, again[i])
		}
		switch e.What {
		case Release:
			l.released(now, e)
		case Found:
			l.open++
			if f := e.Finding; f.Silent < l.cfg.Minimum || float64(f.Silent) < l.cfg.Share*float64(f.Size) {
				l.t.Fatalf("a finding about %d of %d", f.Silent, f.Size)
			}
		case Over:
			l.open--
		}
	}
	for agent, since := range l.pending {
		if now-since > l.bound {
			l.t.Fatalf("the verdict on %s waits since %s", agent, now-since)
		}
	}
}

func (l *law) released(now Instant, e Effect) {
	since, waits := l.pending[e.Member.Agent]
	if !waits {
		l.t.Fatalf("released %s, which waited for nothing", e.Member.Agent)
	}
	if e.Held != now-since {
		l.t.Fatalf("%s was held for %s, by its own account %s", e.Member.Agent, now-since, e.Held)
	}
	delete(l.pending, e.Member.Agent)
	if e.Held == 0 {
		return
	}
	l.releases = append(l.releases, now)
	rate := max(l.cfg.ReleaseRate, 2)
	for i, from := range l.releases {
		if n, allowed := len(l.releases)-i, rate*(now-from).Seconds()+max(1, rate/10)+1e-6; float64(n) > allowed+1 {
			l.t.Fatalf("%d released within %s at a rate of %g", n, now-from, rate)
		}
	}
}

// consistent compares what the tracker counts with what it has.
func (l *law) consistent(t *Tracker) {
	held, crowds := 0, map[Group]int{}
	per := map[*Finding]int{}
	for _, e := range t.silent {
		if e.stage == waiting {
			held++
		}
		if e.finding != nil {
			per[e.finding]++
		}
		groups, n := e.member.groups()
		for _, g := range groups[:n] {
			crowds[g]++
		}
	}
	if held != t.held || len(crowds) != len(t.crowds) || l.open != len(t.open) {
		l.t.Fatalf("%d held, counted %d; %d crowds, counted %d; %d open, told %d", held, t.held, len(crowds), len(t.crowds), len(t.open), l.open)
	}
	for g, n := range crowds {
		if t.crowds[g].n != n {
			l.t.Fatalf("%v: %d silent, counted %d", g, n, t.crowds[g].n)
		}
	}
	for _, f := range t.open {
		if f.held != per[f] || f.held == 0 {
			l.t.Fatalf("%v holds %d, counted %d", f.Group, per[f], f.held)
		}
	}
}
