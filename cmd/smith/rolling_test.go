package main

import (
	"strings"
	"testing"
)

// What a command advises after its rolling restart was stopped is a command, for the
// same agents: an order to restart what did not change leaves nothing outdated.
func TestAdviceAfterAStoppedRollingRestart(t *testing.T) {
	for want, c := range map[string]childRestartCmd{
		"smith child restart --outdated":     {rollFlags: rollFlags{Outdated: true}},
		"smith child restart web --outdated": {Node: "web", rollFlags: rollFlags{Outdated: true}},
		"smith child restart web --rolling":  {Node: "web", rollFlags: rollFlags{Rolling: true}},
	} {
		advice, _, _ := strings.Cut(c.words().again, " to ")
		if advice != want {
			t.Errorf("advice %q, want %q", advice, want)
		}
		if err := (command{line: advice}).check(t); err != nil {
			t.Errorf("%s: %v", advice, err)
		}
	}
}
