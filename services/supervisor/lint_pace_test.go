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
	rapid.Check(t, func(rt *rapid.T) {
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
