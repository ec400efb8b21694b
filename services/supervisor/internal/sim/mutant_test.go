package sim

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// mutant is a mistake made in the product's own code: a text of a file of it that
// is replaced by another when the simulation is built against it.
type mutant struct {
	name Mutation
	// switched mutants share a build, in which the variable mutant says which one it
	// is. Their edits go by it.
	switched bool
	// edits are made one after the other; each text stands once in its file.
	edits []edit
	// by are the invariants that must catch it.
	by []Invariant
	// scenario is one that shows it, where it is too rare to wait for.
	scenario func() Scenario
}

type edit struct{ file, text, instead string }

// mutants of the packages that the service and the simulation share.
func mutants() []mutant {
	const (
		loop, append_, fold, batch = "leader/leader.go", "leader/append.go", "leader/fold.go", "leader/batch.go"
		lanes, listen              = "leader/lanes.go", "leader/listen.go"
		visits                     = "leader/visit.go"
		load, step, place          = "tree/load.go", "tree/step.go", "tree/place.go"
	)
	one := func(file, text, instead string) []edit { return []edit{{file, text, instead}} }
	return []mutant{
		{name: "act first", by: []Invariant{Logged}, edits: one(loop,
			"b.Orders = l.orders(b.Effects)", "b.Orders = l.orders(b.Effects)\n\tl.due = append(l.due, b.Orders...)")},
		{name: "torn decisions", by: []Invariant{Replay}, edits: one(fold, "if more {", "if false {")},
		{name: "stale copy", by: []Invariant{Replay}, edits: one(loop, "l.copy.Update(b.Changes)", "_ = l.copy")},
		{name: "no tombstones", by: []Invariant{Growing}, edits: one(load, "t.tombs[id] = inc", "t.tombs[id] = 0 * inc")},
		{name: "renumber", by: []Invariant{Logged}, edits: one(batch, "return l.orders(slices.DeleteFunc(l.tree.Outstanding(),",
			"again := l.tree.Outstanding()\n\tfor i := range again {\n\t\tif again[i].Kind == tree.DoStart {\n\t\t\tagain[i].Incarnation++\n\t\t}\n\t}\n\treturn l.orders(slices.DeleteFunc(again,")},
		{name: "no reissue", by: []Invariant{Recovers}, edits: one(batch, "slices.DeleteFunc(l.tree.Outstanding(),", "slices.DeleteFunc(l.tree.Outstanding()[:0],")},
		{name: "asks once", by: []Invariant{Recovers}, scenario: func() Scenario { return lostReport(12) }, edits: one(loop, "if len(b.seen) > 0 {", "if false {")},
		{name: "one term", by: []Invariant{Recovers}, scenario: lateStart, edits: one(loop, "l.term = uint64(b.At / tree.Instant(time.Microsecond))", "l.term = uint64(time.Microsecond)")},
		{name: "eager cursor", by: []Invariant{Recovers}, edits: one(loop,
			"l.inbox = append(l.inbox, in)", "l.inbox, l.cursor = append(l.inbox, in), max(l.cursor, in.Seq)")},
		{name: "waits for company", by: []Invariant{Prompt}, edits: one(loop, "return len(l.inbox) > 0", "return len(l.inbox) > 1")},
		{name: "takes a rival for itself", by: []Invariant{Replay}, edits: one(append_,
			"case sequence > 0 && id == PartID(a.id, a.next):", "case sequence > 0:")},
		{name: "blames the group", by: []Invariant{Caused}, edits: one("tree/group.go", "story = c.st.Story\n\t\t\t}\n\t\t\tt.begin", "story = op.Story\n\t\t\t}\n\t\t\tt.begin")},
		{name: "forgets the order", by: []Invariant{Caused}, edits: one("tree/order.go", "n.st.Story = cmd.Story", "_ = cmd")},
		{name: "reads no causes", by: []Invariant{Caused}, edits: one("../../../internal/chain/back.go", "whole.storyOf(*effect), effect.Cause", `whole.storyOf(*effect), ""`)},
		{name: "no kill", by: []Invariant{DeadFirst, OneLives}, edits: one(step, "t.verdict(n, in)\n", "t.exited(n, in)\n")},
		{name: "charges for hosts", by: []Invariant{Blame}, edits: one("tree/child.go", "case !n.st.End.charged():", "case false:")},
		{name: "no reconciliation", by: []Invariant{Recovers}, edits: one(visits, "for _, in := range inputs {", "for _, in := range inputs[:0] {")},
		{name: "no gathering", by: []Invariant{OneLives}, edits: one(place, "return t.gathering && n.spec.Agent.Runner == AnyRunner", "return false")},
		{name: "starts beside copies", by: []Invariant{OneLives}, edits: one(place, "return r != runner })", "return false && r != runner })")},
		{name: "keeps strangers", by: []Invariant{Recovers}, edits: one(visits, "case h.Ours && enforced, l", "case false && enforced, l")},
		{name: "no timers", by: []Invariant{Recovers}, edits: one(load, "if due := n.due(); due > 0 {", "if due := n.due(); due > 0 && n.st.Phase != Waiting && n.st.Phase != Isolated {")},
		{name: "no labels", by: []Invariant{Placed}, edits: one(place, "!ok || have != value", "false && (!ok || have != value)")},
		{name: "no listening", by: []Invariant{Alone}, edits: one(listen, "case tree.Claiming:\n\t\treturn true", "case tree.Claiming:\n\t\treturn false")},
		{name: "one lane", by: []Invariant{Prompt}, edits: one(lanes, "func laneOf(agent string) string { return agent }", `func laneOf(string) string { return "" }`)},
		{name: "one try", by: []Invariant{Recovers}, edits: one(lanes, "if !done && !t.given &&", "if false && !t.given &&")},
		{name: "endless stop", by: []Invariant{Recovers}, scenario: endlessStop, edits: one(lanes, "l.Forget(o.Node, o.Incarnation-1)", "")},
		{name: "keeps ordering", by: []Invariant{Modes}, edits: one(batch, "case c.State != nil && c.State.Phase == tree.Watched:", "case false:")},
		{name: "shadow acts", by: []Invariant{Modes}, edits: []edit{
			{batch, "case tree.DoStart, tree.DoStop, tree.DoReport:", "case tree.DoStart, tree.DoStop, tree.DoReport, tree.Propose:"},
			{batch, "if !ok || spec.Agent == nil || st.Phase.Apart() {", "if !ok || spec.Agent == nil || e.Kind == tree.Propose && e.Action != tree.ActionRestart {"},
			{batch, "out = append(out, Order{Effect: e,", "if e.Kind == tree.Propose {\n\t\t\t\te.Kind = tree.DoStop\n\t\t\t}\n\t\t\tout = append(out, Order{Effect: e,"},
		}},
	}
}

// switchedMutants are mutants that share a build.
func switchedMutants() []mutant {
	const configure, rolling = "tree/configure.go", "tree/rolling.go"
	all := []mutant{
		{name: "one too many", by: []Invariant{Rolls}, edits: []edit{{
			rolling, "for len(parts.down) < r.Max {",
			`for len(parts.down) < r.Max || mutant == "one too many" && len(parts.down) == r.Max {`,
		}}},
		{name: "rolls on early", by: []Invariant{Rolls}, edits: []edit{{
			"tree/rollingpart.go", "case n.st.Phase != Running:",
			`case n.st.Phase != Running && (mutant != "rolls on early" || n.st.Phase == Stopping):`,
		}}},
		{name: "waits for what hangs", by: []Invariant{Rolls}, edits: []edit{{
			rolling, "case part.Turn == TurnWaits && t.superseded(n, r):",
			`case part.Turn == TurnWaits && t.superseded(n, r) && mutant != "waits for what hangs":`,
		}}},
		{name: "rolls what is current", by: []Invariant{Rolls}, edits: []edit{{
			"tree/rollout.go", "if a.outdated() {",
			`if a.outdated() || mutant == "rolls what is current" && a.ordered() {`,
		}}},
		{name: "endless roll", by: []Invariant{Recovers}, edits: []edit{{
			rolling, "if r.Done >= r.Total && ",
			`if r.Done >= r.Total && mutant != "endless roll" && `,
		}}},
		{name: "same builds", by: []Invariant{Current}, edits: []edit{{
			"tree/renewal.go", `case runs != "" && says != "" && runs != says:`,
			`case runs != "" && says != "" && runs != says && mutant != "same builds":`,
		}}},
		{name: "old file again", by: []Invariant{Applied}, edits: []edit{{
			"tree/configured.go", "case s == TakesOver, since:",
			`case s == TakesOver, since && mutant != "old file again":`,
		}}},
		{name: "old plan", by: []Invariant{Applied}, edits: []edit{{
			configure, "if in.Revision > 0 && in.Revision != t.Revision() {",
			`if in.Revision > 0 && in.Revision != t.Revision() && mutant != "old plan" {`,
		}}},
		{name: "removed after all", by: []Invariant{Applied}, edits: []edit{{
			configure, "\t\t\tt.readmit(n)\n",
			"\t\t\tif mutant != \"removed after all\" {\n\t\t\t\tt.readmit(n)\n\t\t\t}\n",
		}}},
		{name: "keeps the removed", by: []Invariant{Applied}, edits: []edit{{
			configure, "\tt.removeUnwanted(wanted)\n",
			"\tif mutant != \"keeps the removed\" {\n\t\tt.removeUnwanted(wanted)\n\t}\n",
		}}},
		{name: "restarts what is moved", by: []Invariant{Applied}, edits: []edit{{
			configure, "\t\tt.compareBuilds(n, former)\n",
			"\t\tt.compareBuilds(n, former)\n\t\tif mutant == \"restarts what is moved\" && n.spec.Agent != nil && n.st.Phase == Running && !n.outdated() {\n\t\t\tt.stop(n, ThenRestart, EndStopped, \"\", false)\n\t\t}\n",
		}}},
		{name: "starts what rests", by: []Invariant{Rests}, edits: []edit{{
			"tree/group.go", "if op.Resume = outcome == Ordered &&",
			`if op.Resume = mutant != "starts what rests" && outcome == Ordered &&`,
		}}},
		{name: "trusts the log", by: []Invariant{Kept}, edits: []edit{{
			"leader/saving.go", "return log.forgets(u.First, age)",
			`return log.forgets(u.First, age) && mutant != "trusts the log"`,
		}}},
	}
	for i := range all {
		all[i].switched = true
	}
	return all
}

// switchVariable is where the process of a switched mutant finds its name.
const switchVariable = "SIM_SWITCHED_MUTANT"

// shared is the build of all switched mutants.
func shared() mutant {
	all := mutant{name: "shared", switched: true}
	for _, m := range switchedMutants() {
		all.edits = append(all.edits, m.edits...)
	}
	return all
}

var mutantFlag = flag.String("mutant", "", "the mutant that TestMutant is built with")

// TestMutants: a mistake in the product's code is caught by the invariant that is
// there for it. Mutants are builds, most of their own, so they run in CI and not in
// every test run: SIM_MUTANTS=all, or the name of one.
func TestMutants(t *testing.T) {
	wanted := os.Getenv("SIM_MUTANTS")
	if wanted == "" {
		t.Skip("each is a build; SIM_MUTANTS=all makes them")
	}
	made := 0
	build := sync.OnceValues(func() (string, error) { return buildShared(t) })
	for _, m := range append(switchedMutants(), mutants()...) {
		if wanted != "all" && wanted != string(m.name) {
			continue
		}
		made++
		t.Run(strings.ReplaceAll(string(m.name), " ", "-"), func(t *testing.T) {
			t.Parallel()
			var cmd *exec.Cmd
			if m.switched {
				program, err := build()
				if err != nil {
					t.Fatal(err)
				}
				cmd = exec.CommandContext(t.Context(), program, "-test.run", "^TestMutant$", "-test.v", "-mutant", string(m.name))
				cmd.Env = append(os.Environ(), switchVariable+"="+string(m.name))
			} else {
				overlay := m.overlay(t, t.TempDir())
				cmd = exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay", overlay, "-run", "^TestMutant$", "-v", ".", "-mutant", string(m.name))
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, line := range regexp.MustCompile(`caught by .*`).FindAll(out, -1) {
				t.Logf("%s", line)
			}
		})
	}
	if made == 0 {
		t.Errorf("SIM_MUTANTS: there is no mutant %q", wanted)
	}
}

// buildShared builds what switched mutants run in.
func buildShared(t *testing.T) (program string, err error) {
	dir := t.TempDir()
	program = filepath.Join(dir, "sim.test")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", shared().overlay(t, dir), "-o", program, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the build of the switched mutants: %w\n%s", err, out)
	}
	return program, nil
}

// overlay writes what the build is to read in place of the mutated files.
func (m mutant) overlay(t *testing.T, dir string) string {
	t.Helper()
	changed := map[string][]byte{}
	for _, e := range m.edits {
		path, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		text := changed[path]
		if text == nil {
			if text, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if n := bytes.Count(text, []byte(e.text)); n != 1 {
			t.Fatalf("%q stands %d times in %s; the mutant needs another text", e.text, n, e.file)
		}
		changed[path] = bytes.Replace(text, []byte(e.text), []byte(e.instead), 1)
	}
	replace := map[string]string{}
	for path := range maps.Clone(changed) {
		if m.switched {
			pkg := filepath.Dir(path)
			changed[filepath.Join(pkg, "mutant.go")] = fmt.Appendf(nil, "package %s\n\nimport \"os\"\n\nvar mutant = os.Getenv(%q)\n", filepath.Base(pkg), switchVariable)
		}
	}
	for path, text := range changed {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestMutant is what TestMutants runs in the build of a mutant.
func TestMutant(t *testing.T) {
	if *mutantFlag == "" {
		t.Skip("TestMutants runs it")
	}
	for _, m := range append(switchedMutants(), mutants()...) {
		if string(m.name) != *mutantFlag {
			continue
		}
		for _, i := range m.by {
			if seed, v := m.caught(i); v == nil {
				t.Errorf("%q is not caught by %q in %d runs", m.name, i, mostRuns)
			} else {
				t.Logf("caught by %s in run %d: %v", i, seed, v)
			}
		}
	}
}

// mostRuns is how many runs may go by before a mutant is caught.
const mostRuns = 10_000

// caught looks for a run in which an invariant catches the mutant.
func (m mutant) caught(i Invariant) (seed uint64, v *Violation) {
	if m.scenario != nil {
		return 0, Run(m.scenario(), Options{Only: i}).Violation
	}
	for seed = range mostRuns {
		if v = Run(Generate(seed), Options{Only: i}).Violation; v != nil {
			return seed, v
		}
	}
	return mostRuns, nil
}

// TestMutantsFit: the texts that mutants replace stand where they say.
func TestMutantsFit(t *testing.T) {
	t.Parallel()
	for _, m := range append(mutants(), shared()) {
		m.overlay(t, t.TempDir())
	}
}
