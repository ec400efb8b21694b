package tree

import (
	"testing"
)

func TestBadSnapshots(t *testing.T) {
	t.Parallel()
	good := func() Snapshot {
		b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 5}), sup("s", "root", Supervisor{}), agent("a", "s"))
		return b.tree.Snapshot()
	}
	for name, spoil := range map[string]func(*Snapshot){
		"no root":        func(s *Snapshot) { delete(s.Nodes, "root") },
		"two roots":      func(s *Snapshot) { s.Nodes["s"].Spec.Parent = "" },
		"no spec":        func(s *Snapshot) { s.Nodes["a"].Spec = nil },
		"nil record":     func(s *Snapshot) { s.Nodes["a"] = nil },
		"cycle":          func(s *Snapshot) { s.Nodes["root"].Spec.Parent = "s" },
		"under an agent": func(s *Snapshot) { s.Nodes["s"].Spec.Parent = "a" },
		"other name":     func(s *Snapshot) { s.Nodes["b"] = s.Nodes["a"] },
		"no state":       func(s *Snapshot) { s.Nodes["s"].State.Supervisor = nil },
	} {
		s := good()
		spoil(&s)
		if _, err := Load(Options{}, s); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if _, err := Load(Options{}, good()); err != nil {
		t.Error(err)
	}
}
