package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/config/lint"
	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// stabilisation is how long a run of the agents of these tests must last before
// it counts.
const stabilisation = 100 * time.Millisecond

// failing is a child that fails as often as it can.
type failing struct {
	delays backoff.Delays
	// up is how long it lives at least before it fails, calm how long it lives
	// for its next delay to be the first again; 0: that never happens.
	up, calm time.Duration
}

// next is the least time from one failure of a child to the n-th after it, and
// how long the child lives before each, tried in every way: it fails as soon as
// it can, or after a calm life. Attempt is the number of its next delay.
func (f failing) next(n, attempt int) (took time.Duration, lives []time.Duration) {
	if n == 0 {
		return 0, nil
	}
	took, lives = f.next(n-1, attempt+1)
	took, lives = took+f.up, append([]time.Duration{f.up}, lives...)
	if f.calm > 0 {
		calm := max(f.calm, f.up)
		if again, rest := f.next(n-1, 0); again+calm < took {
			took, lives = again+calm, append([]time.Duration{calm}, rest...)
		}
	}
	return took + f.delays.WaitAt(attempt, 0), lives
}

// lives are those of a child that fails as often as fits into a window, no more
// than most times. The first ends when the window begins.
func (f failing) lives(begin, window time.Duration, most int) []time.Duration {
	lives := []time.Duration{begin}
	for n := 1; n < most; n++ {
		took, more := f.next(n, 0)
		if took > window {
			break
		}
		lives = append([]time.Duration{begin}, more...)
	}
	return lives
}

// paced is a random tree and how its agents live to exceed the limit of the root.
type paced struct {
	text string
	file *config.File
	// exact: with one_for_one and without jitter, these lives are the quickest.
	exact bool
	lives map[string][]time.Duration
}

func drawPaced(t *rapid.T) paced {
	limit := rapid.IntRange(1, 9).Draw(t, "limit")
	window := time.Duration(rapid.IntRange(1, 12).Draw(t, "window")) * time.Second
	jitter := rapid.SampledFrom([]string{"0", "0", "0", "0.3"}).Draw(t, "jitter")
	strategy := rapid.SampledFrom([]string{"one_for_one", "one_for_one", "one_for_all", "rest_for_one"}).Draw(t, "strategy")
	rootPolicy := "terminate"
	if strategy == "one_for_one" {
		rootPolicy = rapid.SampledFrom([]string{"isolate", "terminate"}).Draw(t, "root policy")
	}
	policy := func(name string) string {
		return fmt.Sprintf("max_restarts: 1, time_window: 1s, restart_delay: %dms, reset_after: %dms, backoff_strategy: {jitter: %s, %s}",
			rapid.SampledFrom([]int{0, 100, 1000, 5000}).Draw(t, name+" delay"), rapid.SampledFrom([]int{0, 1, 500, 3000}).Draw(t, name+" reset"), jitter,
			rapid.SampledFrom([]string{"type: fixed", "type: exponential, base: 3", "type: linear, increment: 1s", "type: fibonacci"}).Draw(t, name+" growth"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "supervision_tree:\n  verification: {stabilisation: %s}\n  root_strategy: %s\n  root_policy: %s\n  root_restart_policy: {max_restarts: %d, time_window: %s, restart_delay: 1m}\n  tree:\n",
		stabilisation, strategy, rootPolicy, limit, window)
	for i := range rapid.IntRange(1, 3).Draw(t, "agents") {
		fmt.Fprintf(&b, "    - {name: agent%d, command: [x], policy: {%s}}\n", i, policy("agent"))
	}
	inner, members, delay := rapid.IntRange(0, 3).Draw(t, "inner limit"), rapid.IntRange(0, 3).Draw(t, "members"), time.Duration(rapid.IntRange(1, 20).Draw(t, "inner delay"))*100*time.Millisecond
	if members > 0 {
		fmt.Fprintf(&b, "    - name: inner\n      escalation: escalate\n      policy: {%s}\n      children:\n",
			strings.Replace(policy("inner"), "max_restarts: 1, time_window: 1s", fmt.Sprintf("max_restarts: %d, time_window: 4s", inner), 1))
		fmt.Fprintf(&b, "        - {name: member, count: %d, command: [x], policy: {restart_delay: %s, reset_after: 0s, backoff_strategy: {type: fixed, jitter: %s}}}\n", members, delay, jitter)
	}
	f, err := config.Parse("random", []byte(b.String()))
	if err != nil {
		t.Fatal(err, b.String())
	}
	p := paced{text: b.String(), file: f, exact: strategy == "one_for_one" && jitter == "0", lives: map[string][]time.Duration{}}
	// The members fail together, so often that inner fails with the last of them.
	rounds := 0
	begin := time.Duration(0)
	if members > 0 {
		rounds = (inner + members) / members
		if begin = time.Duration(rounds-1) * delay; begin > 4*time.Second {
			rounds, begin = 0, 0
		}
	}
	for _, c := range f.Tree.Root.Children {
		if c.Agent != nil {
			p.lives[c.Agent.Name] = agentFailing(c.Agent).lives(begin, window, limit+1)
			continue
		}
		if rounds == 0 {
			continue
		}
		d := c.Node.Policy.Delays()
		for _, life := range (failing{d, begin, d.Reset}).lives(begin, window, limit+1) {
			for i := range members {
				name := fmt.Sprintf("member-%d", i+1)
				p.lives[name] = append(p.lives[name], life-begin)
				p.lives[name] = append(p.lives[name], make([]time.Duration, rounds-1)...)
			}
		}
	}
	return p
}

func agentFailing(a *config.Agent) failing {
	f := failing{delays: a.Policy.Delays()}
	if f.delays.Reset > 0 {
		f.calm = f.delays.Reset + stabilisation
	}
	return f
}

// TestLintPaces: the lint says that a limit can never be exceeded where the tree,
// whose agents fail as fast as they can, never exceeds it, and nowhere else.
func TestLintPaces(t *testing.T) {
	reached, not := 0, 0
	property.Check(t, func(rt *rapid.T) {
		c := drawPaced(rt)
		said := ""
		for _, w := range lint.Check(c.file) {
			if strings.HasPrefix(w.Message, `the limit of "root",`) && strings.Contains(w.Message, "can never be exceeded") {
				said = w.Message
			}
		}
		p := newPlay(t, c.file, func(agent string) manner { return manner{lives: c.lives[agent]} })
		p.run(10 * time.Minute)
		switch gaveUp := p.gaveUp("root") > 0; {
		case said != "" && gaveUp:
			rt.Fatalf("%s\nbut it was, after %s\n%s%v", said, p.took(), c.text, c.lives)
		case said == "" && !gaveUp && c.exact:
			rt.Fatalf("nothing was said, but it never was\n%s%v", c.text, c.lives)
		case gaveUp:
			reached++
		case said != "":
			not++
		}
	})
	t.Logf("%d limits exceeded, %d never", reached, not)
	if !t.Failed() && (reached == 0 || not == 0) {
		t.Error("one of the two never happened")
	}
}

// TestLintBystanders: those who are said to stop do, when said, and those of the
// neighbour run on.
func TestLintBystanders(t *testing.T) {
	f, words := linted(t, "bystanders")
	says(t, words, `others stop that do not depend on it (22 agents): it is restarted 35 times within 31.8s, and then "root" gives up: all 23 agents below it stop until somebody starts them (likewise with "api")`)
	says(t, words, `it is restarted 5 times within 3.1s, and then all 2 agents of "batch" stop for 30s, over and over`)
	p := newPlay(t, f, only(manner{crashes: true}, "page-1"))
	if over := p.run(time.Hour); !over || p.starts["page-1"] != 36 || p.took().Round(100*time.Millisecond) != 31800*time.Millisecond {
		t.Errorf("over: %v after %d starts in %s", over, p.starts["page-1"], p.took())
	}
	for _, bystander := range []string{"page-2", "page-20", "api", "import"} {
		if phase := p.phase(bystander); phase != tree.Idle {
			t.Errorf("%s is %s", bystander, phase)
		}
	}
	p = newPlay(t, f, only(manner{crashes: true}, "import"))
	if p.run(time.Hour); p.notes[tree.NoteCoolOff]["batch"] < 100 || p.starts["report"] < 100 {
		t.Errorf("batch stopped %d times, report was started %d times", p.notes[tree.NoteCoolOff]["batch"], p.starts["report"])
	}
	f, _ = linted(t, "bystanders.ok")
	agents := []string{"page-1", "page-2", "page-20", "api", "extract", "load", "import", "poll-1", "poll-2"}
	for _, bad := range []string{"page-1", "extract", "import", "poll-1"} {
		p := newPlay(t, f, only(manner{crashes: true}, bad))
		p.run(time.Hour)
		for _, agent := range agents {
			alone := agent != bad && !(bad == "extract" && agent == "load")
			if alone && (p.starts[agent] != 1 || p.phase(agent) != tree.Running) {
				t.Errorf("%s crashed, and %s is %s after %d starts", bad, agent, p.phase(agent), p.starts[agent])
			}
		}
	}
}
