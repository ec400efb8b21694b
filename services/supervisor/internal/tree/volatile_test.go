package tree

import "testing"

// TestVolatile: what a supervisor that starts anew remembers of what was added
// and deleted at run time. Volatile is OTP: its init tells of its children
// anew.
func TestVolatile(t *testing.T) {
	t.Parallel()
	const added, twig, deleted, temporary, gone = "added", "twig", "deleted", "temporary", "gone"
	for _, c := range []struct {
		opt  Options
		anew func(*bench)
		want map[string]bool
	}{
		{Options{}, nil, map[string]bool{added: true, twig: true, temporary: true}},
		{Options{Volatile: true}, nil, map[string]bool{added: true, twig: true, temporary: true}},
		{Options{}, bootAnew, map[string]bool{added: true, twig: true}},
		{Options{Volatile: true}, bootAnew, map[string]bool{deleted: true}},
		{Options{}, failAnew, map[string]bool{added: true, twig: true}},
		{Options{Volatile: true}, failAnew, map[string]bool{deleted: true}},
	} {
		b := &bench{t: t, tree: New(c.opt), now: epoch}
		b.do(Input{Kind: Configure, Boot: true, Specs: []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 5}), sup("s", "root", Supervisor{}), agent("a", "s"), agent(deleted, "s"),
		}})
		passing := func(s *Spec) { s.Restart = Temporary }
		for _, spec := range []*Spec{agent(added, "s"), sup("branch", "s", Supervisor{}), agent(twig, "branch"), agent(temporary, "s", passing), agent(gone, "s", passing)} {
			b.do(Input{Kind: Order, Command: CmdAdd, Node: spec.ID, Spec: spec})
		}
		b.do(Input{Kind: Order, Command: CmdTerminate, Node: deleted})
		b.do(Input{Kind: Order, Command: CmdDelete, Node: deleted})
		b.crash(gone)
		if _, _, there := b.tree.Lookup(gone); there {
			t.Errorf("%+v: a temporary child that was added is still there after its end", c.opt)
		}
		b.do(Input{Kind: Order, Command: CmdTerminate, Node: added})
		b.do(Input{Kind: Order, Command: CmdDelete, Node: added})
		b.do(Input{Kind: Order, Command: CmdAdd, Node: added, Spec: agent(added, "s")}) // its name is free
		if c.anew != nil {
			c.anew(b)
		}
		b.wantPhase("s", Running)
		b.wantPhase("a", Running)
		for _, id := range []string{added, twig, deleted, temporary, gone} {
			_, st, there := b.tree.Lookup(id)
			if runs := there && st.Phase == Running; runs != c.want[id] {
				t.Errorf("%+v, anew %t: %s runs: %t (%s); done: %v", c.opt, c.anew != nil, id, runs, st.Phase, b.done)
			}
		}
		s := b.tree.Snapshot()
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// bootAnew has the supervisor s restarted by order.
func bootAnew(b *bench) { b.do(Input{Kind: Order, Command: CmdRestart, Node: "s"}) }

// failAnew makes the supervisor s give up, and its parent restart it.
func failAnew(b *bench) { b.crash("a") }
