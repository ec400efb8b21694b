package decisionlog

import (
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestGraver: a decision is called after the gravest of its effects, in whatever
// order they come.
func TestGraver(t *testing.T) {
	t.Parallel()
	ascending := []struct {
		kind tree.EffectKind
		want contracts.EventType
	}{
		{tree.Propose, contracts.TreeProposed},
		{tree.DoStart, contracts.TreeDecided},
		{tree.NoteRollingStopped, contracts.TreeRollingStopped},
		{tree.NoteIsolate, contracts.TreeIsolated},
		{tree.NoteCoolOff, contracts.TreeEscalated},
		{tree.NoteGiveUp, contracts.TreeGaveUp},
	}
	for i, a := range ascending {
		for k, b := range ascending {
			if got, want := graver(graver("", a.kind), b.kind), ascending[max(i, k)].want; got != want {
				t.Errorf("%s, then %s: %s, want %s", a.kind, b.kind, got, want)
			}
		}
	}
}
