package journal

import (
	"testing"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestTornDecision: a decision of which the log has only the end is not taken for
// whole.
func TestTornDecision(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		j.mustPut(t, grown(0, 10))
		begin := j.Sequence() + 1
		j.mustPut(t, grown(10, 1000))
		if j.Sequence() == begin {
			t.Fatal("it is stored in one message")
		}
		stream, err := j.env.JS.Stream(t.Context(), contracts.EventStream)
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgs, cfg.MaxAge = int64(j.Sequence()-begin), 0 // ages are not in virtual time
		if _, err := j.env.JS.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		next, _ := open(t, s, "s2")
		if st := next.mustLoad(t); st.Missing != 2 || next.Number() != 2 {
			t.Errorf("%d decisions are missing, the last is %d", st.Missing, next.Number())
		}
	})
}

// TestForgottenDecisions: a log that has forgotten decisions which the snapshot
// lacks still gives a sound tree, and says how many are missing.
func TestForgottenDecisions(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		j.mustPut(t, grown(0, 2), grown(2, 1), grown(3, 1))
		stream, err := j.env.JS.Stream(t.Context(), contracts.EventStream)
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgs, cfg.MaxAge = 1, 0 // ages are not in virtual time
		if _, err := j.env.JS.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		log, err := j.Retention(t.Context())
		if err != nil || log.MaxMsgs != 1 || log.Msgs != 1 || log.FirstSeq != 3 || log.LastSeq != 3 {
			t.Errorf("the log keeps %+v, %v", log, err)
		}
		next, _ := open(t, s, "s2")
		st := next.mustLoad(t)
		if st.Missing != 2 || len(st.Tree.Nodes) != 0 || st.Tree.Tombstones["a3"] != 1 {
			t.Errorf("%d decisions are missing; the tree is %+v", st.Missing, st.Tree)
		}
		if _, err := tree.Load(tree.Options{}, st.Tree); err != nil {
			t.Error(err)
		}
		if err := next.put(t.Context(), grown(0, 1)); err != nil || next.Number() != 4 {
			t.Errorf("decision %d: %v", next.Number(), err)
		}
	})
}
