package diagnosis

import (
	"testing"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestAnOrderThatWaitsIsShown until it is carried out, in lists and to whoever asks why.
func TestAnOrderThatWaitsIsShown(t *testing.T) {
	t.Parallel()
	hung := func(s *tree.Spec) { s.Agent = &tree.Agent{Verify: true} }
	f := newFleet(t, sup("root", "", nil), sup("g", "root", func(s *tree.Supervisor) { s.Strategy = tree.RestForOne }),
		agent("a", "g", nil), agent("b", "g", hung), agent("c", "g", nil))
	shown := func(want string) {
		t.Helper()
		spec, st, _ := f.tree.Lookup("a")
		if got := NewReader(f.tree).Brief(spec, st).Reason; got != want {
			t.Errorf("in lists: %q, want %q", got, want)
		}
		if got := f.explain("a").Reason; got != want {
			t.Errorf("in an explanation: %q, want %q", got, want)
		}
	}
	shown("")
	f.order(tree.CmdRestart, "a")
	shown("restart ordered; it waits until supervisor g is up")
	f.do(tree.Input{Kind: tree.Beat, Node: "b", Incarnation: 1})
	shown("")
	if _, st, _ := f.tree.Lookup("a"); st.Incarnation != 2 {
		t.Errorf("incarnation %d", st.Incarnation)
	}
}
