package main

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestScaledLines: each template says how to take its count back, within a few lines.
func TestScaledLines(t *testing.T) {
	inner := contracts.NodeView{Name: "b", Scaled: []contracts.ScaledTemplate{{Template: "v", Count: 1, Configured: 2}}}
	root := contracts.NodeView{Name: "a", Scaled: []contracts.ScaledTemplate{{Template: "w", Count: 3, Configured: 4}}, Children: []contracts.NodeView{inner}}
	want := "w: 3 by order, 4 in the file; smith child scale w 4 takes it back\nv: 1 by order, 2 in the file; smith child scale v 2 takes it back\n"
	if got := scaledLines(scaledBelow(root)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := scaledLines(nil); got != "" {
		t.Errorf("of none: %q", got)
	}
	if got := scaledLines(make([]contracts.ScaledTemplate, 12)); strings.Count(got, "\n") != 11 || !strings.HasSuffix(got, "and 2 more scaled templates\n") {
		t.Errorf("of many: %q", got)
	}
	if err := (command{line: "smith child scale w 4"}).check(t); err != nil {
		t.Error(err)
	}
}
