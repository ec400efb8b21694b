package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// supervisionConfig has the nodes that docs/supervision names.
const supervisionConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 1s}
  tree:
    - name: research
      children:
        - {name: crawler, count: 2, heartbeat_interval: 1s, stabilisation: 100ms, command: [WORKER, --records, RECORDS]}
    - {name: experiments, children: []}
`

// TestSupervisionCommands runs every command of docs/supervision, and sees to it
// that each that the text names is among them.
func TestSupervisionCommands(t *testing.T) {
	t.Parallel()
	text := supervisionPages(t)
	s := deploy(t, supervisionConfig)
	dir := t.TempDir()
	config := strings.NewReplacer("WORKER", bin("worker"), "RECORDS", s.records(), "name: research", "name: research\n      strategy: one_for_all").Replace(supervisionConfig)
	if err := os.WriteFile(filepath.Join(dir, "new.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer("WORKER", bin("worker"), "RECORDS", s.records(), "{name: experiments,", "{name: experiments, policy: {max_restarts: 7},").Replace(supervisionConfig)
	if err := os.WriteFile(filepath.Join(dir, "supervision-config.yaml"), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	s.waitRunning(map[string]uint64{"crawler-1": 1, "crawler-2": 1})
	start := fmt.Sprint(" ", s.tree().Sequence)
	s.kill("crawler-2")
	s.waitRunning(map[string]uint64{"crawler-2": 2})

	is := func(agent string, status contracts.NodeStatus) bool { return s.agents()[agent].Status == status }
	research := func(status contracts.NodeStatus) bool { return s.first().Status == status }
	mode := func(node string) string {
		if node == "research" {
			return s.first().Mode
		}
		return s.agents()[node].Mode
	}
	// stopped is what operators keep from running: nothing, until the mode is set.
	stopped := "no node is terminated or suspended"
	// expected is what a command prints or brings about, by how it begins.
	expected := map[string]func(out string) bool{
		"smith tree --at":     func(out string) bool { return regexp.MustCompile(`crawler-2 +worker +running +1`).MatchString(out) },
		"smith tree research": func(out string) bool { return strings.Contains(out, "1 nodes differ") },
		"smith events query":  func(out string) bool { return strings.Contains(out, "crawler-2") },
		"smith config diff": func(out string) bool {
			return strings.Contains(out, "experiments") && strings.Contains(out, "1 change, ")
		},
		"smith config apply": func(out string) bool { return strings.Contains(out, "1 change, ") && strings.Contains(out, "applied") },
		"smith config apply supervision-config.yaml --max":  func(out string) bool { return strings.Contains(out, "0 changes, ") },
		"smith config apply supervision-config.yaml --keep": func(out string) bool { return strings.Contains(out, "0 changes, ") },
		"smith child restart --outdated":                    func(out string) bool { return out == "restart: nothing to do\n" },
		"smith child restart research":                      func(string) bool { return s.agents()["crawler-2"].Incarnation > 2 },
		"smith tree":                                        func(out string) bool { return strings.Contains(out, "crawler-3") },
		"smith tree --stopped":                              func(out string) bool { return strings.Contains(out, stopped) },
		"smith tree --problems":                             func(out string) bool { return !strings.Contains(out, "crawler-3 ") },
		"smith rebalance":                                   func(out string) bool { return out == "rebalance: nothing to do\n" },
		"smith runners":                                     func(out string) bool { return strings.Contains(out, s.tree().Runners[0].Runner) },
		"smith config check":                                func(out string) bool { return strings.Contains(out, "crawler-1 (or 1 other): it is restarted") },
		"smith why crawler-1":                               func(out string) bool { return strings.HasPrefix(out, "crawler-1 ") },
		"smith why research":                                func(out string) bool { return strings.HasPrefix(out, "research ") },
		"smith rehearse":                                    func(out string) bool { return strings.Contains(out, "crawler-1") },
		"smith child add":                                   func(string) bool { return is("extra", contracts.NodeRunning) },
		"smith child terminate":                             func(string) bool { return is("extra", contracts.NodeStopped) },
		"smith child restart extra":                         func(string) bool { return s.agents()["extra"].Incarnation == 2 },
		"smith child remove":                                func(string) bool { return is("extra", "") },
		"smith child suspend":                               func(string) bool { return research(contracts.NodeSuspended) },
		"smith child resume":                                func(string) bool { return research(contracts.NodeRunning) },
		"smith child scale":                                 func(string) bool { return is("crawler-3", contracts.NodeRunning) },
		"smith child move":                                  func(string) bool { return s.agents()["crawler-3"].Parent == "experiments" },
		"smith drain":                                       func(string) bool { return is("crawler-3", contracts.NodeStopped) },
		"smith child restart root":                          func(string) bool { return s.agents()["crawler-3"].Incarnation == 2 },
		"smith mode set research shadow":                    func(string) bool { return is("crawler-1", contracts.NodeWatched) },
		"smith mode diff": func(out string) bool {
			return strings.Contains(out, "crawler-1") && strings.Contains(out, "restart")
		},
		"smith mode set research enforce --percent": func(string) bool {
			// By its name crawler-2 is of the first 20 percent, crawler-1 of the first 68.
			return mode("research") == "enforce 25%, otherwise shadow" && mode("crawler-2") == "enforce" && mode("crawler-1") == "shadow"
		},
		"smith mode set research enforce": func(string) bool {
			return mode("research") == "enforce" && is("crawler-1", contracts.NodeRunning)
		},
		"smith mode set root": func(string) bool {
			stopped = "mode off, by "
			return is("crawler-3", contracts.NodeWatched) && !is("crawler-1", contracts.NodeWatched)
		},
		"smith mode set research inherit": func(string) bool { return is("crawler-1", contracts.NodeWatched) },
	}
	before := map[string]func(){
		"smith mode diff": func() {
			s.kill("crawler-1")
			eventually(t, 20*time.Second, "a proposal", func() bool { return is("crawler-1", contracts.NodeFailed) })
		},
	}
	var ran []string
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ := strings.Cut(strings.TrimSpace(line), "  #")
			line = strings.TrimSpace(line)
			ran = append(ran, line)
			best := ""
			for prefix := range expected {
				if strings.HasPrefix(line, prefix) && len(prefix) > len(best) {
					best = prefix
				}
			}
			if best == "" {
				t.Errorf("nothing tells what %q is expected to do", line)
				continue
			}
			if first := before[best]; first != nil {
				first()
			}
			out := s.shell(dir, strings.Replace(line, " 10m", start, 1))
			eventually(t, 20*time.Second, fmt.Sprintf("%q to do what it says; it printed\n%s", line, out), func() bool {
				return expected[best](out) && s.settled()
			})
		}
	}
	named := regexp.MustCompile("`(smith [^`]*)`").FindAllStringSubmatch(text, -1)
	for _, m := range named {
		if m[1] == "smith up" {
			continue // what these commands talk to
		}
		if !slices.ContainsFunc(ran, func(line string) bool { return isCase(line, m[1]) }) {
			t.Errorf("no block of docs/supervision runs `%s`", m[1])
		}
	}
	if len(ran) < 20 || len(named) < 12 {
		t.Errorf("only %d commands in blocks and %d in the text found", len(ran), len(named))
	}
	checkTestsNamed(t, text)
}

// supervisionPages are all pages of docs/supervision: those whose commands build
// on one another's in their order, then the others.
func supervisionPages(t *testing.T) string {
	t.Helper()
	pages := []string{"rehearsal", "changing-things", "modes"}
	files, err := filepath.Glob("../docs/supervision/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if page := strings.TrimSuffix(filepath.Base(file), ".md"); !slices.Contains(pages, page) {
			pages = append(pages, page)
		}
	}
	var b strings.Builder
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join("../docs/supervision", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// isCase tells whether a line has all words and flags of a command as the text
// names it: what is in capitals or behind a flag stands for something.
func isCase(line, named string) bool {
	given := strings.Fields(line)
	for i, word := range strings.Fields(named) {
		word = strings.Trim(word, "[]")
		switch {
		case strings.HasPrefix(word, "--"):
			if !slices.Contains(given, word) {
				return false
			}
		case word == strings.ToLower(word) && i < 3:
			if i >= len(given) || given[i] != word {
				return false
			}
		}
	}
	return true
}

// settled tells whether nothing in the tree is on its way to anything.
func (s *system) settled() bool {
	var still func(n contracts.NodeView) bool
	still = func(n contracts.NodeView) bool {
		switch n.Status {
		case contracts.NodeRunning, contracts.NodeStopped, contracts.NodeWatched, contracts.NodeSuspended, contracts.NodeFailed:
		default:
			return false
		}
		return !slices.ContainsFunc(n.Children, func(c contracts.NodeView) bool { return !still(c) })
	}
	return still(s.tree().Root)
}

// checkTestsNamed fails when a `go test` command of a text names tests that are
// not there.
func checkTestsNamed(t *testing.T, text string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			tests = append(tests, m[1])
		}
	}
	commands := regexp.MustCompile(`go test ./e2e -run '([^']*)'`).FindAllStringSubmatch(text, -1)
	if len(commands) == 0 {
		t.Error("no go test command found")
	}
	for _, m := range commands {
		for part := range strings.SplitSeq(m[1], "|") {
			if !slices.ContainsFunc(tests, func(name string) bool { return strings.Contains(name, part) }) {
				t.Errorf("%s: no test is called so: %s", m[0], part)
			}
		}
	}
}
