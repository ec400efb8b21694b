package supervisor

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/config/lint"
)

// slowOutlooks counts what the outlook said of slow stops and late failures, and
// checks it.
type slowOutlooks struct{ same, slower, exact, conditional, late, lateEndless int }

// playFor is how long a crash loop is watched that is said to have no end.
const playFor = 4 * time.Minute

// crashing plays an agent in a crash loop, whose failures come so late, where
// every agent takes so long to stop if it may.
func crashing(t *testing.T, f *config.File, agent string, stops, life time.Duration) (p *play, over bool) {
	p = newPlay(t, f, func(name string) manner { return manner{crashes: name == agent, life: life, stops: stops} })
	p.untilApart = true
	return p, p.run(playFor)
}

func (s *slowOutlooks) check(t *testing.T, rt *rapid.T, f *config.File, o lint.Outlook, text string) {
	ends := func(what string, stops, life, took time.Duration) {
		p, over := crashing(t, f, o.Agent, stops, life)
		if !over || float64(p.starts[o.Agent]-1) != o.Restarts || took > 0 && p.decided > took {
			rt.Fatalf("%+v\n%s, over: %v after %d restarts, decided after %s\n%s", o, what, over, p.starts[o.Agent]-1, p.decided, text)
		}
	}
	endless := func(what string, stops, life time.Duration) {
		if p, over := crashing(t, f, o.Agent, stops, life); over {
			rt.Fatalf("%+v\n%s, it ended after %s\n%s", o, what, p.decided, text)
		}
	}
	switch {
	case o.StopsWithin != nil:
		s.conditional++
		if float64(*o.StopsWithin)*(o.Restarts+1)*4 < float64(playFor) {
			ends("with stops as long as said", *o.StopsWithin, 0, 0)
		}
		if !strings.Contains(o.Message, "take all their time, it may be") {
			endless("with stops as long as can be", time.Hour, 0)
		}
	case o.Endless && strings.Contains(o.Message, "may exceed its limit after all"):
	case o.Endless:
		endless("with stops as long as can be", time.Hour, 0)
	case o.Slowest == 0:
		s.same++
		ends("with stops as long as can be", time.Hour, 0, o.After)
	case o.Slowest <= playFor:
		s.slower++
		if p, _ := crashing(t, f, o.Agent, time.Hour, 0); p.decided == o.Slowest {
			s.exact++
		}
		ends("with stops as long as can be", time.Hour, 0, o.Slowest)
	}
	if o.FailsWithin > 0 && o.After+time.Duration((o.Restarts+1)*float64(o.FailsWithin)) < playFor {
		s.late++
		ends("with failures as late as said", 0, o.FailsWithin, 0)
		if _, over := crashing(t, f, o.Agent, 0, o.FailsWithin+2*time.Millisecond); !over {
			s.lateEndless++
		}
	}
}

func (s *slowOutlooks) all(t *testing.T) {
	t.Logf("slow stops: %d alike, %d slower, %d of them exactly as said, %d conditional; late failures: %d, of which %d are the latest", s.same, s.slower, s.exact, s.conditional, s.late, s.lateEndless)
	if !t.Failed() && (s.same == 0 || s.exact < s.slower/2 || s.slower == 0 || s.conditional == 0 || s.late == 0 || s.lateEndless == 0) {
		t.Error("one of them never happened")
	}
}

const slowSibling = `supervision_tree:
  restart_budget: {BUDGET}
  tree:
    - name: g
      strategy: one_for_all
      escalation: terminate
      policy: {max_restarts: 3, time_window: 12s, restart_delay: 1s, backoff_strategy: {jitter: 0}}
      children:
        - {name: crasher, command: [x], heartbeat_interval: 1s, start_deadline: 2s}
        - {name: slow, command: [x], shutdown_timeout: 10s}
`

// TestOutlookOfAGroup: a sibling that is slow to stop keeps a group below its
// limit, and the outlook says how slow; so does a budget.
func TestOutlookOfAGroup(t *testing.T) {
	outlook := func(budget string) (*config.File, lint.Outlook) {
		f, err := config.Parse("slow", []byte(strings.Replace(slowSibling, "BUDGET", budget, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return f, lint.Outlooks(f)[0]
	}
	f, o := outlook("")
	says(t, o.Message, `if every agent that stops with it does so within 4s, it is restarted 3 times within 4.8s, and then "g" gives up`)
	says(t, o.Message, `if they take all their time, it is restarted for ever, every 1m in the end, since "g" never exceeds its limit`)
	if strings.Contains(o.Message, "never beats") {
		t.Error(o.Message) // its start_deadline is short enough
	}
	for stops, want := range map[time.Duration]bool{0: true, 4 * time.Second: true, 4*time.Second + time.Millisecond: false, time.Hour: false} {
		p := newPlay(t, f, func(name string) manner { return manner{crashes: name == "crasher", stops: stops} })
		if p.run(time.Hour); (p.gaveUp("g") > 0) != want {
			t.Errorf("with stops of %s it gave up %d times", stops, p.gaveUp("g"))
		}
	}
	// It never beats: found after its start deadline, which is soon enough.
	p := newPlay(t, f, only(manner{never: true}, "crasher"))
	if p.run(time.Hour); p.gaveUp("g") == 0 || 2*time.Second > o.FailsWithin {
		t.Errorf("it gave up %d times, and failures may come after %s", p.gaveUp("g"), o.FailsWithin)
	}
	f, o = outlook("fleet_restarts: 2, fleet_window: 10s")
	says(t, o.Message, `it is restarted for ever, every 10s at most, since the restart budget of the fleet, 2 in 10s, keeps it below the limit of "g"`)
	p = newPlay(t, f, only(manner{crashes: true}, "crasher"))
	if p.run(time.Hour); p.gaveUp("g") > 0 || p.starts["crasher"] < 50 {
		t.Errorf("it gave up %d times after %d starts", p.gaveUp("g"), p.starts["crasher"])
	}
	_, o = outlook("fleet_restarts: 4, fleet_window: 10s")
	says(t, o.Message, "; the restart budget of the fleet, 4 in 10s, may space the restarts out")
}

// TestOutlooksOfARestForOne: what stops with a member depends on its place, and so does
// its outlook.
func TestOutlooksOfARestForOne(t *testing.T) {
	text := strings.Replace(strings.Replace(slowSibling, "BUDGET", "", 1), "one_for_all", "rest_for_one", 1)
	f, err := config.Parse("rest", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all := lint.Outlooks(f)
	if len(all) != 2 || all[0].StopsWithin == nil || all[1].StopsWithin != nil {
		t.Fatalf("%+v", all)
	}
	p := newPlay(t, f, func(name string) manner { return manner{crashes: name == "slow", stubborn: true} })
	if p.run(time.Hour); p.gaveUp("g") != 1 {
		t.Error("the last one stops nobody, and its group did not give up")
	}
}
