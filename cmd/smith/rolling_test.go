package main

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
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

// A command that waits says what for.
func TestRollingProgress(t *testing.T) {
	for want, v := range map[string]contracts.RollingView{
		"removed agents, still ending a, b":                                                    {Ending: []string{"a", "b"}},
		"new agents: 1 of 2 up, now n, still ending a":                                         {Total: 2, Added: 2, Done: 1, Now: []string{"n"}, Ending: []string{"a"}},
		"rolling restart: 0 of 1 agent, at most 1 at once, still ending a, b, c, d and 1 more": {Total: 1, MaxUnavailable: 1, Ending: []string{"a", "b", "c", "d", "e"}},
	} {
		if got := rollingProgress(&v); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
