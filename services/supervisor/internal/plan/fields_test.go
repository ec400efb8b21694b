package plan

import (
	"os"
	"strings"
	"testing"
)

// TestThePageNamesWhatRestartsAnAgent: every setting that a runner is told of is in the
// row of settings whose change restarts an agent, and no other is.
func TestThePageNamesWhatRestartsAnAgent(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/supervision/changing-things.md")
	if err != nil {
		t.Fatal(err)
	}
	row := ""
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, "| it is restarted, in its turn |") {
			row = line
		}
	}
	if row == "" {
		t.Fatal("the page has no such row")
	}
	// These are read where the agent is placed, watched and started.
	elsewhere := map[string]bool{"start_deadline": true, "stabilisation": true, "runner": true, "runner_labels": true}
	for _, s := range ofAgents {
		if named, restarts := strings.Contains(row, "`"+s.name+"`"), !current[s.name] && !elsewhere[s.name]; named != restarts {
			t.Errorf("%s: the row names it: %t; a change restarts the agent: %t", s.name, named, restarts)
		}
	}
}
