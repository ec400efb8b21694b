package supervisor

import (
	"slices"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestLintLoopingShutdown: work that is done is done again, as often as said.
func TestLintLoopingShutdown(t *testing.T) {
	f, words := linted(t, "looping-shutdown")
	says(t, words, `it is started again by "root" 1s later`)
	says(t, words, `the 6th such end within 5m is more than "root" allows`)
	p := newPlay(t, f, only(manner{finishes: true}, "import"))
	p.untilApart = true
	if !p.run(day) || p.starts["import"] != 6 || p.phase("batch") != tree.Isolated {
		t.Errorf("it ran %d times, and batch is %s", p.starts["import"], p.phase("batch"))
	}
	f, _ = linted(t, "looping-shutdown.ok")
	p = newPlay(t, f, only(manner{finishes: true}, "import"))
	if !p.run(day) || p.starts["import"] != 1 || p.phase("root") != tree.Running {
		t.Errorf("the neighbour ran it %d times, and root is %s", p.starts["import"], p.phase("root"))
	}
}

// TestLintShortShutdown: where each agent takes all the time it is given, those
// said are killed early, and it is over when said.
func TestLintShortShutdown(t *testing.T) {
	for _, c := range []struct {
		file, node string
		says       string
		cut        []string
		took       time.Duration
	}{
		{"short-shutdown", "many", `the 12s are up before "worker-2" has had its own, and it and 2 others are killed`, []string{"worker-2", "worker-1", "first"}, 12 * time.Second},
		{"short-shutdown", "inner", `the 20s are up before "a-1" has had its own, and it is killed`, []string{"a-1"}, 20 * time.Second},
		{"short-shutdown", "outer", `what still runs after 10s is killed`, []string{"a-3", "a-2", "a-1"}, 10 * time.Second},
		{"short-shutdown", "mixed", `the 11s are up before "slow-2" has had its own, and it and 2 others are killed`, []string{"slow-2", "slow-1", "last"}, 11 * time.Second},
		{"short-shutdown", "wide", `"row" below it may take 15s; what still runs after 10s is killed`, []string{"c-1"}, 10 * time.Second},
		{"short-shutdown.ok", "many", "", nil, 25 * time.Second},
		{"short-shutdown.ok", "outer", "", nil, 10 * time.Second},
		{"short-shutdown.ok", "wide", "", nil, 10 * time.Second},
	} {
		f, words := linted(t, c.file)
		says(t, words, c.says)
		p := newPlay(t, f, func(string) manner { return manner{stubborn: true} })
		p.run(time.Minute)
		begin := p.now
		p.do(tree.Input{Kind: tree.Order, Command: tree.CmdTerminate, Node: c.node})
		p.run(time.Hour)
		if took := time.Duration(p.now - begin); !slices.Equal(p.cut, c.cut) || took != c.took || p.phase(c.node) != tree.Idle {
			t.Errorf("%s of %s: it took %s, and these had less than their time: %v", c.node, c.file, took, p.cut)
		}
	}
}

// TestLintBudgetBelowGroup: the group is whole again when said, not before.
func TestLintBudgetBelowGroup(t *testing.T) {
	_, words := linted(t, "budget-below-group")
	says(t, words, `the group "cluster" restarts up to 12 agents, and the budget of the fleet is 5 restarts in 1m: even if nothing else is restarted, the group is not whole again before 2m have passed`)
	says(t, words, `the group "pinned" restarts up to 3 agents, and the budget of runner "host-a" is 2 restarts in 30s: even if nothing else is restarted, the group is not whole again before 30s have passed`)
	for agent, want := range map[string]time.Duration{"member-1": 2 * time.Minute, "a-1": 30 * time.Second} {
		for file, want := range map[string]time.Duration{"budget-below-group": want, "budget-below-group.ok": 0} {
			f, _ := linted(t, file)
			if agent == "member-1" {
				f.RestartBudget.RunnerRestarts = 0 // any runner may have any number of them
			}
			p := newPlay(t, f, only(manner{}))
			p.run(time.Minute)
			begin, last := p.now, tree.Instant(0)
			p.do(tree.Input{Kind: tree.Exited, Node: agent, Incarnation: 1, Reason: "crash"})
			p.run(time.Hour)
			for id, at := range p.up {
				if p.starts[id] > 1 {
					last = max(last, at)
				}
			}
			if took := time.Duration(last - begin); took < want || took > want+2*time.Second {
				t.Errorf("%s: after a crash of %s all were up after %s, not %s", file, agent, took, want)
			}
		}
	}
}

// TestLintNoEffect: an agent's own limit limits nothing.
func TestLintNoEffect(t *testing.T) {
	f, words := linted(t, "no-effect")
	says(t, words, `it has no effect: of an agent's policy only the delays count; the limit is that of "root", 5 restarts in 5m`)
	p := newPlay(t, f, only(manner{crashes: true}, "writer"))
	p.untilApart = true
	if p.run(day); p.starts["writer"] != 6 {
		t.Errorf("it was started %d times", p.starts["writer"])
	}
	p = newPlay(t, f, only(manner{crashes: true}, "part"))
	if p.run(day); p.gaveUp("fragile") == 0 || p.notes[tree.NoteCoolOff]["fragile"] > 0 || p.notes[tree.NoteRestart]["part"] > 0 {
		t.Errorf("%v", p.notes)
	}
}

// TestLintModes: the lint chooses agents as the core does, and those that are
// not enforced are left alone by the others' restarts.
func TestLintModes(t *testing.T) {
	f, words := linted(t, "empty-share")
	says(t, words, "of 2 agents that this counts for 10% chooses none: all are in mode shadow")
	says(t, words, "of 3 agents that this counts for 99% chooses all: none is in mode off")
	p := newPlay(t, f, only(manner{}))
	for agent, want := range map[string]tree.Mode{"a": tree.Shadow, "b": tree.Shadow, "c-1": tree.Enforce, "c-2": tree.Enforce, "c-3": tree.Enforce, "single": tree.Shadow} {
		if got := p.tree.Mode(agent); got != want {
			t.Errorf("%s is in mode %s, not %s", agent, got, want)
		}
	}
	f, words = linted(t, "split-group")
	says(t, words, `when "extract" fails and the others restart, nothing is done to "load"`)
	p = newPlay(t, f, only(manner{}))
	p.run(time.Minute)
	p.do(tree.Input{Kind: tree.Exited, Node: "extract", Incarnation: 1, Reason: "crash"})
	if p.run(time.Minute); p.starts["extract"] != 2 || p.starts["load"] != 0 {
		t.Errorf("starts: %v", p.starts)
	}
}
