package supervisor

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/config/lint"
	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// linted reads an example of a rule, or its neighbour, and what is found in it.
func linted(t *testing.T, name string) (*config.File, string) {
	t.Helper()
	data, err := os.ReadFile("../../internal/config/lint/testdata/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, w := range lint.Check(f) {
		b.WriteString(w.Message + "\n")
	}
	noJitter(f) // figures are computed for the middle of its range
	return f, b.String()
}

// only makes some agents behave in some manner and all others well.
func only(m manner, agents ...string) func(string) manner {
	return func(agent string) manner {
		if slices.Contains(agents, agent) {
			return m
		}
		return manner{}
	}
}

func says(t *testing.T, words, want string) {
	t.Helper()
	if !strings.Contains(words, want) {
		t.Errorf("the lint does not say %q but\n%s", want, words)
	}
}

const day = 24 * time.Hour

// TestLintLimitOutOfReach: in a day of crashes the limit is never exceeded, and
// the neighbour's is at once.
func TestLintLimitOutOfReach(t *testing.T) {
	crash := manner{crashes: true}
	f, words := linted(t, "limit-out-of-reach")
	for agent, sup := range map[string]string{"other": "pollers", "worker": "outer"} {
		p := newPlay(t, f, only(crash, agent))
		if p.run(day); p.gaveUp(sup) > 0 {
			t.Errorf("%s exceeded its limit after %s", sup, p.took())
		}
		if p.starts[agent] < 1000 {
			t.Errorf("%s started %d times only", agent, p.starts[agent])
		}
	}
	says(t, words, `"poller-1" alone does not exceed it`)
	says(t, words, `"inner" alone does not exceed it: if "worker" crashes`)
	says(t, words, `the limit of "idle", 5 restarts in 1m, can never be exceeded: at their restart delays its children fail at most 4 times in that time`)
	says(t, words, `the limit of "apart", 5 restarts in 1m, can never be exceeded: at their restart delays each of its children fails at most 2 times in that time`)
	// Together they can.
	p := newPlay(t, f, only(crash, "other", "poller-1", "poller-2"))
	if p.run(time.Hour); p.gaveUp("pollers") == 0 {
		t.Error("pollers cannot exceed its limit at all")
	}
	f, _ = linted(t, "limit-out-of-reach.ok")
	for agent, sup := range map[string]string{"poller-1": "pollers", "worker": "outer", "seldom-1": "idle", "seldom-2": "idle"} {
		p := newPlay(t, f, only(crash, agent))
		if p.run(time.Hour); p.gaveUp(sup) == 0 {
			t.Errorf("%s did not exceed its limit", sup)
		}
	}
}

// TestLintHungStart: the same with an agent that never beats.
func TestLintHungStart(t *testing.T) {
	f, words := linted(t, "hung-start")
	says(t, words, `"crawler-1" has 30s for its first heartbeat`)
	p := newPlay(t, f, only(manner{never: true}, "crawler-1"))
	if p.run(day); p.gaveUp("group") > 0 || p.starts["crawler-1"] < 900 {
		t.Errorf("gave up %d times after %d starts", p.gaveUp("group"), p.starts["crawler-1"])
	}
	f, _ = linted(t, "hung-start.ok")
	p = newPlay(t, f, only(manner{never: true}, "crawler-1"))
	if p.run(time.Hour); p.gaveUp("group") == 0 {
		t.Error("the neighbour did not give up")
	}
}

// TestLintSlowGroup: the same with a group whose last member never beats, the
// others as late as they may.
func TestLintSlowGroup(t *testing.T) {
	slow := func(agent string) manner {
		return manner{beats: 30*time.Second - time.Millisecond, never: agent == "load"}
	}
	f, words := linted(t, "slow-group")
	says(t, words, "that may take 1m30s, longer than its time_window of 1m")
	p := newPlay(t, f, slow)
	if p.run(day); p.gaveUp("pipeline") > 0 || p.starts["load"] < 500 {
		t.Errorf("gave up %d times after %d starts", p.gaveUp("pipeline"), p.starts["load"])
	}
	f, _ = linted(t, "slow-group.ok")
	p = newPlay(t, f, slow)
	if p.run(time.Hour); p.gaveUp("pipeline") == 0 {
		t.Error("the neighbour did not give up")
	}
	p = newPlay(t, f, func(agent string) manner { return manner{beats: slow(agent).beats, never: agent == "t"} })
	if p.run(time.Hour); p.gaveUp("rest") == 0 {
		t.Error("the other neighbour did not give up")
	}
}

// TestLintLimitsMultiply: the agent named is restarted exactly as often as said.
func TestLintLimitsMultiply(t *testing.T) {
	f, words := linted(t, "limits-multiply")
	p := newPlay(t, f, only(manner{crashes: true}, "reader"))
	if !p.run(day) || p.phase("root") != tree.Idle {
		t.Fatalf("it is not over after %s", p.took())
	}
	says(t, words, fmt.Sprintf(`if "reader" crashes whenever it has come up, it is restarted %s times within %s before "root" gives up`,
		thousands(p.starts["reader"]-1), p.took().Round(100*time.Millisecond)))
	says(t, words, fmt.Sprintf("(%s starts of agents with those that restart with it)", thousands(p.allStarts())))
	// The same where the supervisor in the middle isolates.
	data, err := os.ReadFile("../../internal/config/lint/testdata/limits-multiply.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if f, err = config.Parse("isolating", []byte(strings.Replace(string(data), "      escalation: escalate\n", "", 1))); err != nil {
		t.Fatal(err)
	}
	noJitter(f)
	p = newPlay(t, f, only(manner{crashes: true}, "reader"))
	p.untilApart = true
	if !p.run(day) || p.phase("pair") != tree.Isolated {
		t.Fatalf("pair is %s after %s", p.phase("pair"), p.took())
	}
	says(t, lint.Check(f)[0].Message, fmt.Sprintf(`it is restarted %s times within %s before "region" sets "pair" apart`,
		thousands(p.starts["reader"]-1), p.took().Round(100*time.Millisecond)))
	f, _ = linted(t, "limits-multiply.ok")
	p = newPlay(t, f, only(manner{crashes: true}, "reader"))
	p.untilApart = true
	if !p.run(day) || p.starts["reader"] != 11 || p.phase("pair") != tree.Isolated {
		t.Errorf("the neighbour started it %d times", p.starts["reader"])
	}
}

func noJitter(f *config.File) {
	var walk func(n *config.Node)
	walk = func(n *config.Node) {
		n.Policy.Backoff.Jitter = 0
		for _, c := range n.Children {
			if c.Node != nil {
				walk(c.Node)
			} else {
				c.Agent.Policy.Backoff.Jitter = 0
			}
		}
	}
	walk(&f.Tree.Root)
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

var (
	multiplies = regexp.MustCompile(`if "(\w+)" crashes whenever it has come up, it is restarted ([0-9,]+) times .* before "(\w+)" (gives up|sets)`)
	beyond     = regexp.MustCompile(`^the limit of "(\w+)" is .* if "(\w+)" crashes whenever`)
	never      = regexp.MustCompile(`^the limit of "(\w+)", .* can never be exceeded`)
)

// TestLintAgreesWithPlay: of random nested supervisors, the lint says how often
// an agent in a crash loop is restarted and who gives up or sets it apart, or whose
// limit is out of reach; and that is what happens.
func TestLintAgreesWithPlay(t *testing.T) {
	exact, apart, endless, outlooks := 0, 0, 0, 0
	var slowly slowOutlooks
	property.Check(t, func(rt *rapid.T) {
		text := nested(rt)
		f, err := config.Parse("random", []byte(text))
		if err != nil {
			rt.Fatal(err)
		}
		crash := func(agent string) (*play, bool) {
			p := newPlay(t, f, only(manner{crashes: true}, agent))
			p.untilApart = true
			return p, p.run(4 * time.Minute)
		}
		most, stuck := 101, false
		for _, w := range lint.Check(f) {
			if m := multiplies.FindStringSubmatch(w.Message); m != nil {
				exact++
				restarts, _ := strconv.Atoi(strings.ReplaceAll(m[2], ",", ""))
				most = restarts + 1
				p, _ := crash(m[1])
				ended := p.phase(m[3]) == tree.Idle
				if m[4] == "sets" {
					apart++
					ended = p.gaveUp(m[3]) == 1 && p.phase(m[3]) == tree.Running
				}
				if p.starts[m[1]]-1 != restarts || !ended {
					rt.Fatalf("%s\nthere were %d, and %s is %s\n%s", w, p.starts[m[1]]-1, m[3], p.phase(m[3]), text)
				}
			}
			if m := never.FindStringSubmatch(w.Message); m != nil {
				endless++
				reaches := !isolatedBelow(&f.Tree.Root, m[1])
				stuck = stuck || reaches
				if p, over := crash("agent"); over && reaches || p.gaveUp(m[1]) > 0 {
					rt.Fatalf("%s\nbut it gave up after %s\n%s", w, p.took(), text)
				}
			}
			if m := beyond.FindStringSubmatch(w.Message); m != nil {
				endless++
				stuck = stuck || strings.Contains(w.Message, `"agent"`)
				if p, over := crash(m[2]); over || p.gaveUp(m[1]) > 0 {
					rt.Fatalf("%s\nbut it gave up after %s\n%s", w, p.took(), text)
				}
			}
		}
		for _, o := range lint.Outlooks(f) {
			if o.Agent != "agent" || !o.Endless && o.After > 4*time.Minute {
				continue
			}
			outlooks++
			p, over := crash("agent")
			if over == o.Endless || over && (float64(p.starts["agent"]-1) != o.Restarts || p.took() != o.After || p.gaveUp(o.Supervisor) == 0 && p.phase(o.Supervisor) == tree.Running) {
				rt.Fatalf("%+v\nbut over: %v after %d restarts in %s; %s is %s\n%s", o, over, p.starts["agent"]-1, p.took(), o.Supervisor, p.phase(o.Supervisor), text)
			}
			slowly.check(t, rt, f, o, text)
		}
		if p, over := crash("agent"); over == stuck || over && p.starts["agent"] > most {
			rt.Fatalf("over: %v after %d starts; the lint says it goes on: %v, and has at most %d\n%s", over, p.starts["agent"], stuck, most, text)
		}
	})
	slowly.all(t)
	t.Logf("%d exact counts, %d of them of children set apart, %d limits out of reach, %d outlooks", exact, apart, endless, outlooks)
	if !t.Failed() && (exact == 0 || endless == 0 || outlooks == 0) {
		t.Error("one of them never happened")
	}
}

// isolatedBelow reports whether one of nested supervisors is below the named one
// and isolates, so that no failure passes it.
func isolatedBelow(n *config.Node, name string) bool {
	below := false
	for inner := n; inner != nil; {
		if below && inner.Escalation == config.EscalationIsolate {
			return true
		}
		below = below || inner.Name == name
		i := slices.IndexFunc(inner.Children, func(c config.Child) bool { return c.Node != nil })
		if i < 0 {
			return false
		}
		inner = inner.Children[i].Node
	}
	return false
}

// nested makes two to four supervisors within one another, an agent in the
// innermost and well-behaved ones beside.
func nested(t *rapid.T) string {
	policy := func(name string, delays bool) string {
		delay := rapid.IntRange(0, 2000).Draw(t, name+" delay")
		if delays {
			delay /= 20
		}
		return fmt.Sprintf("{max_restarts: %d, time_window: %ds, restart_delay: %dms, reset_after: %ds, backoff_strategy: {type: %s, jitter: 0, %s}}",
			rapid.SampledFrom([]int{0, 1, 5, 12, 20}).Draw(t, name+" max"), rapid.IntRange(1, 40).Draw(t, name+" window"), delay, rapid.SampledFrom([]int{0, 1, 10, 60}).Draw(t, name+" reset"),
			"exponential", "max_delay: 20s, base: "+rapid.SampledFrom([]string{"1", "1.5", "2"}).Draw(t, name+" base"))
	}
	strategy := func(name, escalation string, of ...string) string {
		s := rapid.SampledFrom(of).Draw(t, name)
		if s == "one_for_one" && rapid.IntRange(0, 2).Draw(t, name+" isolates") > 0 {
			s += escalation
		}
		return s
	}
	stops := func(name string) string {
		return fmt.Sprintf("shutdown_timeout: %dms", rapid.SampledFrom([]int{100, 700, 1000, 5000, 20000}).Draw(t, name+" stops"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "supervision_tree:\n  verification: {start_deadline: 5s, stabilisation: 100ms}\n  root_strategy: %s\n  root_restart_policy: %s\n  tree:\n",
		strategy("root", "\n  root_policy: terminate", "one_for_one", "one_for_all", "rest_for_one"), policy("root", false))
	indent := "  "
	for i := range rapid.IntRange(2, 3).Draw(t, "levels") {
		indent += "  "
		name := fmt.Sprintf("sup%d", i)
		fmt.Fprintf(&b, "%s- {name: before%d, command: [x], %s}\n%s- name: %s\n%s  strategy: %s\n%s  policy: %s\n%s  children:\n", indent, i, stops(name), indent, name, indent,
			strategy(name, "\n"+indent+"  escalation: escalate", "one_for_one", "one_for_all", "rest_for_one", "escalate"), indent, policy(name, false), indent)
		indent += "  "
	}
	fmt.Fprintf(&b, "%s- {name: agent, command: [x], policy: %s}\n%s- {name: beside, command: [x], %s, restart: %s}\n", indent, policy("agent", true),
		indent, stops("beside"), rapid.SampledFrom([]string{"permanent", "permanent", "temporary"}).Draw(t, "beside restart"))
	return b.String()
}

// TestLintSharedLimit: as many as said, crashing together, stop all.
func TestLintSharedLimit(t *testing.T) {
	f, words := linted(t, "shared-limit")
	says(t, words, "the first 6 of them to crash exceed it")
	for crashed, want := range map[int]int{5: 0, 6: 1} {
		p := newPlay(t, f, only(manner{}))
		p.run(time.Minute)
		for i := range crashed {
			p.do(tree.Input{Kind: tree.Exited, Node: fmt.Sprintf("crawler-%d", i+1), Incarnation: 1, Reason: "shared"})
		}
		if got := p.gaveUp("crawlers"); got != want {
			t.Errorf("after %d crashes it gave up %d times", crashed, got)
		}
	}
}

// TestLintEndlessRestarts: a minute has as many restarts as the pace said makes.
func TestLintEndlessRestarts(t *testing.T) {
	f, words := linted(t, "endless-restarts")
	says(t, words, `if "frantic" crashes whenever it has come up, it is restarted without a pause for ever`)
	says(t, words, `if "warm" crashes whenever it has come up, it is restarted every 33ms for ever`)
	p := newPlay(t, f, only(manner{crashes: true}, "warm"))
	p.run(time.Minute)
	if per := time.Minute / time.Duration(p.starts["warm"]); per < 32*time.Millisecond || per > 33*time.Millisecond {
		t.Errorf("every %s", per)
	}
	limit := 2000
	says(t, words, `if "tried" crashes whenever it has come up, it is restarted every 20ms for ever`)
	p = newPlay(t, f, only(manner{crashes: true}, "tried"))
	p.run(time.Minute)
	if per := time.Minute / time.Duration(p.starts["tried"]); per < 19*time.Millisecond || per > 20*time.Millisecond {
		t.Errorf("every %s", per)
	}
	p = newPlay(t, f, func(agent string) manner {
		if agent == "frantic" {
			limit--
		}
		return manner{crashes: agent == "frantic" && limit > 0}
	})
	if p.run(time.Minute); limit > 0 || p.took() > time.Minute || p.notes[tree.NoteIgnore]["ignoring"] < 300 {
		t.Errorf("it was not restarted without a pause: %d times in %s", p.starts["frantic"], p.took())
	}
}

// TestLintVanishingSupervisor: what is said to stay down stays down.
func TestLintVanishingSupervisor(t *testing.T) {
	f, words := linted(t, "vanishing-supervisor")
	says(t, words, `being transient it is not restarted by "root", and its 2 agents are down`)
	for agent, sup := range map[string]string{"a-1": "session", "b": "job", "c": "once"} {
		p := newPlay(t, f, only(manner{crashes: true}, agent))
		if !p.run(day) || p.phase(sup) != tree.Idle && p.phase(sup) != tree.Gone || p.phase(agent) == tree.Running || p.phase("root") != tree.Running {
			t.Errorf("%s is %s, %s is %s, root is %s after %s", sup, p.phase(sup), agent, p.phase(agent), p.phase("root"), p.took())
		}
	}
	f, _ = linted(t, "vanishing-supervisor.ok")
	p := newPlay(t, f, only(manner{crashes: true}, "c"))
	p.untilApart = true
	if p.run(day); p.notes[tree.NoteBoot]["once"] != 6 {
		t.Errorf("a transient supervisor that escalates by its strategy started %d times", p.notes[tree.NoteBoot]["once"])
	}
}
