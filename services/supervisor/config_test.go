package supervisor

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// fleet is a configuration of four agents of a command, and others with an
// environment.
func fleet(command, env string) string {
	return `
supervision_tree:
  verification: {stabilisation: 100ms}
  tree:
    - {name: a, command: [` + command + `]}
    - {name: b, command: [` + command + `]}
    - {name: same, command: [x]}
    - name: group
      strategy: one_for_one
      children:
        - {name: e, command: [x], env: {TOKEN: ` + env + `}}
`
}

// configure asks for a configuration to be planned or applied.
func (w *world) configure(verb string, req contracts.ConfigRequest) (contracts.ConfigPlan, error) {
	w.t.Helper()
	return ask[contracts.ConfigPlan](w, verb, req)
}

// apply applies a configuration and waits until what it began is over.
func (w *world) apply(text string) contracts.ConfigPlan {
	w.t.Helper()
	p, err := w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: text}, Name: "new.yaml", Source: "laptop:/new.yaml"})
	if err != nil || !p.Applied {
		w.t.Fatalf("apply: %+v, %v", p, err)
	}
	w.rolled()
	return p
}

// rolled waits until no rolling restart is under way.
func (w *world) rolled() contracts.RollingView {
	w.t.Helper()
	for range 600 {
		<-time.After(100 * time.Millisecond)
		v, err := ask[contracts.RollingView](w, "rolling", contracts.RollingRequest{})
		if err == nil && v.State != contracts.RollingOn {
			w.settled()
			return v
		}
	}
	w.t.Fatal("the rolling restart never ends")
	return contracts.RollingView{}
}

// summary is a plan in a line.
func summary(p contracts.ConfigPlan) string {
	var out []string
	for _, c := range p.Changes {
		s := c.Node + " " + string(c.Change)
		for _, f := range c.Fields {
			s += " " + f.Field
		}
		out = append(out, s+": "+string(c.Then))
	}
	return strings.Join(out, ", ")
}

// fileOf writes a configuration into a file of its own, and loads it.
func fileOf(t *testing.T, path, text string) *config.File {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (w *world) env(agent string) string {
	w.runner.mu.Lock()
	defer w.runner.mu.Unlock()
	return w.runner.envs[agent]["TOKEN"]
}

// TestApply plans and applies an edited file: the plan says what happens, and
// only what changed is restarted, one after the other.
func TestApply(t *testing.T) {
	inWorld(t, fleet("x", secret), func(t *testing.T, w *world) {
		w.up()
		edited := strings.Replace(fleet("y", "other"), "- {name: same, command: [x]}", "- {name: same, command: [x]}\n    - {name: new, command: [x]}", 1)
		plan, err := w.configure("plan", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: edited}, Name: "new.yaml"})
		if err != nil {
			t.Fatal(err)
		}
		const want = "a changed command: restarted, b changed command: restarted, new added: started, e changed env: restarted"
		w.want("plan", summary(plan), want)
		w.want("done by planning", w.runner.takeLog(), "")
		if raw, err := json.Marshal(plan); err != nil || strings.Contains(string(raw), secret) || plan.Applied || plan.Plan == "" || plan.Same != 3 {
			t.Errorf("plan: %s, %v", raw, err)
		}
		w.want("applied", summary(w.apply(edited)), want)
		// The new one starts alongside the first.
		w.want("done", strings.Replace(w.runner.takeLog(), "start new 1, ", "", 1), "stop a 1, start a 2, stop b 1, start b 2, stop e 1, start e 2")
		w.want("environment", w.env("e"), "other")
		w.want("once more", summary(w.apply(edited)), "")
		w.want("done by that", w.runner.takeLog(), "")
		if in := w.logged(); len(in) > 0 {
			t.Errorf("the secret is in the log: %v", in)
		}
		w.gapless()
	})
}

// TestApplyKeeps leaves what runs, and shows it, until an operator has it
// restarted.
func TestApplyKeeps(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.up()
		p, err := w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}, Keep: true})
		if err != nil || !p.Applied {
			t.Fatal(p, err)
		}
		w.want("plan", summary(p), "a changed command: left running, outdated, b changed command: left running, outdated")
		w.want("done", w.runner.takeLog(), "")
		outdated := func() (names string) {
			for _, n := range w.tree().Root.Children {
				if n.Outdated {
					names += n.Name
				}
			}
			return names
		}
		w.want("outdated", outdated(), "ab")
		plan, err := w.configure("plan", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}})
		w.want("planned again", summary(plan), "a outdated: restarted, b outdated: restarted")
		if err != nil {
			t.Error(err)
		}
		v, err := ask[contracts.RollingView](w, "roll", contracts.RollRequest{Outdated: true, MaxUnavailable: 2})
		if err != nil || v.State != contracts.RollingOn || v.Total != 2 {
			t.Errorf("roll: %+v, %v", v, err)
		}
		w.rolled()
		w.want("outdated", outdated(), "")
		for _, bad := range []contracts.RollRequest{{Node: "nobody"}, {Node: "*"}, {MaxUnavailable: -1}} {
			if v, err := ask[contracts.RollingView](w, "roll", bad); err == nil {
				t.Errorf("%+v: %+v", bad, v)
			}
		}
	})
}

// TestRollingRestartStops with the first agent that does not come up, and says
// so; the rest runs on as it was.
func TestRollingRestartStops(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.up()
		w.runner.mu.Lock()
		w.runner.broken["a"] = true
		w.runner.mu.Unlock()
		p, err := w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}})
		if err != nil || !p.Applied {
			t.Fatal(p, err)
		}
		var v contracts.RollingView
		for range 100 {
			<-time.After(100 * time.Millisecond)
			if v, err = ask[contracts.RollingView](w, "rolling", contracts.RollingRequest{}); err != nil || v.State != contracts.RollingOn {
				break
			}
		}
		if err != nil || v.State != contracts.RollingStopped || !strings.Contains(v.Reason, "a did not come up") {
			t.Errorf("rolling: %+v, %v", v, err)
		}
		if n := len(stored[contracts.DecisionsData](w, contracts.TreeRollingStopped)); n != 1 {
			t.Errorf("%d events", n)
		}
		failed := stored[contracts.AgentFailedData](w, contracts.AgentFailed)
		for _, f := range failed {
			if f.Reason != contracts.ReasonStartFailed || f.Runner == "" || f.Detail != "no such program" {
				t.Errorf("not the cause alone: %+v", f)
			}
		}
		if len(failed) == 0 {
			t.Error("no failure is stored")
		}
		for _, n := range w.tree().Root.Children {
			if n.Name == "b" && (!n.Outdated || n.Incarnation != 1) {
				t.Errorf("b: %+v", n)
			}
		}
		// The former file makes it well again.
		w.runner.mu.Lock()
		w.runner.broken["a"] = false
		w.runner.mu.Unlock()
		w.apply(fleet("x", "one"))
		if s := w.settled(); !strings.Contains(s, "a running") || !strings.Contains(s, "b running 1") {
			t.Error(s)
		}
	})
}

// TestStalePlan: a plan that no longer holds is refused; one that others' orders
// did not touch is not.
func TestStalePlan(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.up()
		plan, err := w.configure("plan", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}})
		if err != nil {
			t.Fatal(err)
		}
		w.want("restart", w.refusal("restart", contracts.NodeRequest{Node: "same"}), "ok")
		w.want("terminate", w.refusal("terminate", contracts.NodeRequest{Node: "a"}), "ok")
		_, err = w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}, Plan: plan.Plan})
		w.wantRefused("a stale plan", err, contracts.CodeConflict, "nothing is changed")
		again, err := w.configure("plan", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}})
		w.want("plan", summary(again), "a changed command: at its next start, b changed command: restarted")
		if err != nil || again.Decision <= plan.Decision {
			t.Errorf("made against decision %d, then %d, %v", plan.Decision, again.Decision, err)
		}
		w.want("restart", w.refusal("restart", contracts.NodeRequest{Node: "same"}), "ok")
		if p, err := w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("y", "one")}, Plan: again.Plan}); err != nil || !p.Applied {
			t.Errorf("a plan that holds: %+v, %v", p, err)
		}
	})
}

// TestLargeFiles: a file that is longer than a request is planned and applied, by the one
// that decides and from one that stands by, and a successor knows it.
func TestLargeFiles(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		stop := w.supervise("first")
		w.settled()
		text := fleet("y", "one") + strings.Repeat("# what an agent is for, in a line\n", 30_000)
		sent, err := contracts.PackConfig(text)
		if err != nil || len(sent.Packed) == 0 {
			t.Fatalf("%d bytes, %v", len(sent.Packed), err)
		}
		for _, verb := range []string{"plan", "apply"} {
			p, err := w.configure(verb, contracts.ConfigRequest{ConfigText: sent, Name: "large.yaml"})
			w.want(verb, summary(p), "a changed command: restarted, b changed command: restarted")
			if err != nil || p.Applied != (verb == "apply") {
				t.Errorf("%s: %+v, %v", verb, p, err)
			}
		}
		w.rolled()
		before := w.settled()
		stop()
		w.supervise("successor")
		w.want("after a takeover", w.settled(), before)
		p, err := w.configure("plan", contracts.ConfigRequest{ConfigText: sent})
		if w.want("plan", summary(p), ""); err != nil {
			t.Error(err)
		}
	})
}

// TestTwoApplies at once are two decisions; the second starts from what the first
// made.
func TestTwoApplies(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.up()
		done := make(chan error)
		for i := range 8 {
			go func() {
				p, err := w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: fleet("c"+strconv.Itoa(i%2), "one")}})
				if err == nil && !p.Applied {
					err = errors.New(summary(p))
				}
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		w.rolled()
		w.settled()
		for _, n := range w.tree().Root.Children {
			if n.Outdated || n.Status != contracts.NodeRunning {
				t.Errorf("%+v", n)
			}
		}
		w.gapless()
	})
}

// TestRefusedConfigurations change nothing and say what is wrong, where.
func TestRefusedConfigurations(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.supervise("s1")
		up := w.settled()
		before := w.tree().Decision
		for name, c := range map[string]struct {
			text string
			want []string
		}{
			"mistakes":         {"supervision_tree:\n  tree:\n    - {name: a, comand: [x]}\n    - {name: b, command: x}\n", []string{"new.yaml:3:17", "new.yaml:4:26"}},
			"another tree":     {"supervision_tree: {name: other}", []string{"tree other, and this is tree main"}},
			"another kind":     {strings.Replace(fleet("x", "one"), "{name: b, command: [x]}", "{name: b, strategy: one_for_one}", 1), []string{"new.yaml:6:7", `"b": an agent cannot become a supervisor`}},
			"no document":      {"]", []string{"new.yaml:1:1"}},
			"control commands": {"supervision_tree: \x1b[2J", []string{"new.yaml"}},
		} {
			for _, verb := range []string{"plan", "apply"} {
				p, err := w.configure(verb, contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: c.text}, Name: "new.yaml"})
				all := ""
				for _, problem := range p.Problems {
					all += problem.Place() + ": " + problem.Message + "\n"
				}
				for _, part := range c.want {
					if !strings.Contains(all, part) {
						t.Errorf("%s: %s: %q lacks %q", verb, name, all, part)
					}
				}
				if err != nil || p.Applied || len(p.Problems) == 0 {
					t.Errorf("%s: %s: %+v, %v", verb, name, p, err)
				}
			}
		}
		for name, req := range map[string]contracts.ConfigRequest{
			"too large":    {ConfigText: contracts.ConfigText{Config: strings.Repeat("#", contracts.MaxRequestBytes)}},
			"not packed":   {ConfigText: contracts.ConfigText{Packed: []byte(fleet("y", "one"))}},
			"both":         {ConfigText: contracts.ConfigText{Config: fleet("y", "one")}, Keep: true, MaxUnavailable: 1},
			"less than no": {ConfigText: contracts.ConfigText{Config: fleet("y", "one")}, MaxUnavailable: -1},
		} {
			if p, err := w.configure("apply", req); err == nil {
				t.Errorf("%s: %+v", name, p)
			}
		}
		w.want("tree", w.settled(), up)
		if after := w.tree().Decision; after != before {
			t.Errorf("decision %d after %d", after, before)
		}
	})
}

// TestMovedInTheFile: an agent moves to another supervisor as it runs.
func TestMovedInTheFile(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.up()
		text := fleet("x", "one")
		text = strings.Replace(text, "    - {name: a, command: [x]}\n", "", 1) + "        - {name: a, command: [x]}\n"
		p := w.apply(text)
		w.want("plan", summary(p), "a moved: at once")
		w.want("done", w.runner.takeLog(), "")
		w.want("tree", w.settled(), "root running, b running 1, same running 1, group running, e running 1, a running 1")
	})
}

// TestElsewhere: a plan names what other services have to be restarted for.
func TestElsewhere(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		w.up()
		p := w.apply(fleet("x", "one") + "  routing: {max_attempts: 7}\n  limits: {max_agents: 7}\n")
		w.want("elsewhere", strings.Join(p.Elsewhere, ", "), "limits, routing")
	})
}

// FuzzConfigRequest: whatever a request says, it is read or refused.
func FuzzConfigRequest(f *testing.F) {
	for _, s := range []string{fleet("x", "one"), "", "]", "supervision_tree: {name: other}", "\xff"} {
		f.Add(s, "new.yaml")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		raw, err := json.Marshal(contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: text}, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		var req contracts.ConfigRequest
		if err := json.Unmarshal(raw, &req); err != nil {
			t.Fatal(err)
		}
		c, err := readConfiguration(req.Name, req.Config)
		if err == nil && (len(c.Specs) == 0 || c.File == nil) {
			t.Errorf("%q is read as %+v", text, c)
		}
	})
}
