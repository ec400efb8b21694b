package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestTreeTable: a tree is as wide as its terminal, where only reasons are shortened,
// and what is not for a terminal has all of them.
func TestTreeTable(t *testing.T) {
	t.Parallel()
	reason := "exited with code 7: " + strings.Repeat("ä very long reason, ", 12) + "and its end"
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	root := contracts.NodeView{Name: "root", Kind: "supervisor", Strategy: "one_for_one", Status: contracts.NodeRunning, Children: []contracts.NodeView{
		{Name: "sammlung-ä", Kind: "agent", Type: "worker", Status: contracts.NodeRestarting, Reason: reason, Until: &until, Outdated: true, Incarnation: 12, Runner: "local"},
		{Name: "b", Kind: "agent", Status: contracts.NodeFailed, Reason: "short", PID: 4711},
		{Name: "c", Kind: "agent", Status: contracts.NodeRunning, Usage: &contracts.Usage{Uptime: contracts.Duration(time.Minute), CPU: contracts.Duration(1234 * time.Millisecond), Memory: 48 << 20}},
	}}
	for _, mode := range []string{"", "shadow"} {
		root.Mode = mode
		for _, width := range []int{0, 60, 160, 220} {
			wide := width == 220
			var out bytes.Buffer
			if err := (&app{stdout: &out}).table(treeTable(root, width, wide)); err != nil {
				t.Fatal(err)
			}
			text, widest := out.String(), 0
			for line := range strings.Lines(text) {
				widest = max(widest, len([]rune(strings.TrimRight(line, " \n"))))
			}
			all := strings.Contains(text, reason)
			switch {
			case (width == 0) != all:
				t.Errorf("width %d: all of the reason: %t\n%s", width, all, text)
			case strings.Contains(text, "1m0s    1.2s  48MiB") != wide:
				t.Errorf("width %d, wide %t:\n%s", width, wide, text)
			case width > 100 && (widest > width || widest < width-len("MEMORY")):
				t.Errorf("width %d: %d columns\n%s", width, widest, text)
			case !strings.Contains(text, "restarting (exited with"), !strings.Contains(text, "), outdated until 03:04:05.000"), !strings.Contains(text, "failed (short)"):
				t.Errorf("width %d: a status is cut off\n%s", width, text)
			case strings.Contains(text, "MODE") != (mode != "") || strings.Contains(text, "shadow") != (mode != ""):
				t.Errorf("width %d, mode %q\n%s", width, mode, text)
			}
		}
	}
}
