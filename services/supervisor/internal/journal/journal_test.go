package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func open(t *testing.T, s *natstest.Server, instance string) (*Journal, shell.Env) {
	t.Helper()
	nc := s.Connect(t)
	env, err := shell.NewEnv(t.Context(), "supervisor", instance, nc, slog.New(slog.NewTextHandler(t.Output(), nil)), nil, shell.NewHealth())
	if err != nil {
		t.Fatal(err)
	}
	// Once only: an update of the stream in virtual time makes the server
	// expire every message, since its own clock is the real one.
	if _, err := env.JS.Stream(t.Context(), contracts.EventStream); errors.Is(err, jetstream.ErrStreamNotFound) {
		natstest.Streams(t, env.JS)
	}
	j, err := Open(t.Context(), env, "main", Guards{Log: shell.NewGuard(env, nil, "eventstore"), State: shell.NewGuard(env, nil, "state_store")})
	if err != nil {
		t.Fatal(err)
	}
	return j, env
}

// inJournal runs a parallel test in virtual time, with a server and the journal of
// supervisor a, which has read the log.
func inJournal(t *testing.T, test func(t *testing.T, s *natstest.Server, j *Journal)) {
	t.Helper()
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		j, _ := open(t, s, "a")
		j.mustLoad(t)
		test(t, s, j)
	})
}

// put appends a decision as the tree's next.
func (j *Journal) put(ctx context.Context, d *decisionlog.Decision) error {
	d.Number = j.Number() + 1
	return j.Append(ctx, d)
}

func (j *Journal) mustPut(t *testing.T, ds ...*decisionlog.Decision) {
	t.Helper()
	for _, d := range ds {
		if err := j.put(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

// publish stores an event of the tree with some data, past the journal.
func (j *Journal) publish(t *testing.T, data []byte) {
	t.Helper()
	ev, err := j.env.Event(contracts.TreeDecided, "main").JSON(data).Build()
	if err == nil {
		_, err = shell.PublishEvent(t.Context(), j.env.JS, ev)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (j *Journal) mustSave(t *testing.T, s tree.Snapshot, cursor uint64) {
	t.Helper()
	if err := j.Save(t.Context(), s, cursor); err != nil {
		t.Fatal(err)
	}
}

// grown returns a decision that adds n agents, and a root the first time.
func grown(first, n int) *decisionlog.Decision {
	d := &decisionlog.Decision{Tree: "main", ID: uuid.NewString(), Type: contracts.TreeDecided, At: tree.Instant(time.Now().UnixNano()), Cursor: uint64(first + n)}
	if first == 0 {
		d.Changes = append(d.Changes, tree.Change{
			ID: "root", Spec: &tree.Spec{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne}},
			State: &tree.State{Phase: tree.Running, Supervisor: &tree.Supervised{}},
		})
	}
	for i := range n {
		id := fmt.Sprintf("a%d", first+i)
		d.Changes = append(d.Changes, tree.Change{
			ID:       id,
			Spec:     &tree.Spec{ID: id, Parent: "root", Rank: int64(first + i + 1), Agent: &tree.Agent{Start: []byte(`{"command":["x"]}`)}},
			State:    &tree.State{Phase: tree.Starting, Incarnation: 1, Why: strings.Repeat("why ", 50)},
			Restarts: []tree.Entry{{At: 1, Reason: "r"}},
		})
		d.Inputs = append(d.Inputs, contracts.DecisionInput{Kind: "command", Node: id, At: d.At.Time()})
		d.Effects = append(d.Effects, contracts.DecisionEffect{Kind: "start", Node: id, Incarnation: 1, Input: i})
	}
	return d
}

func fold(ds ...*decisionlog.Decision) tree.Snapshot {
	var s tree.Snapshot
	for _, d := range ds {
		for _, c := range d.Changes {
			s.Apply(c)
		}
	}
	return s
}

func (j *Journal) mustLoad(t *testing.T) State {
	t.Helper()
	st, err := j.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestLargeDecisionsCountAsAWhole(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		j, _ := open(t, s, "s1")
		if st := j.mustLoad(t); !st.Fresh {
			t.Fatal("a new tree is not fresh")
		}
		small, large := grown(0, 10), grown(10, 1000)
		j.mustPut(t, small, large)
		if j.Number() != 2 || j.Sequence() < 4 {
			t.Errorf("decision %d at %d; a large one takes several messages", j.Number(), j.Sequence())
		}
		again, _ := open(t, s, "s2")
		st := again.mustLoad(t)
		if diff := cmp.Diff(fold(small, large), st.Tree, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("fold (-want +got):\n%.2000s", diff)
		}
		if st.Cursor != large.Cursor || again.Number() != 2 {
			t.Errorf("cursor %d, decision %d", st.Cursor, again.Number())
		}
		if _, err := tree.Load(tree.Options{}, st.Tree); err != nil {
			t.Error(err)
		}

		// One that is cut off in the middle never happened.
		parts, err := decisionlog.Split(grown(5000, 1000))
		if err != nil || len(parts) < 2 {
			t.Fatalf("%d parts, %v", len(parts), err)
		}
		cut := parts[0]
		cut.Tree, cut.Number, cut.Cursor, cut.More = "main", 3, 99, true
		raw, err := cut.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		j.publish(t, raw)
		st = again.mustLoad(t)
		if st.Cursor != large.Cursor || again.Number() != 2 || st.Tree.Nodes["a5000"] != nil {
			t.Errorf("a decision that was cut off counts: cursor %d, decision %d", st.Cursor, again.Number())
		}
		next := grown(9000, 1)
		again.mustPut(t, next)
		third, _ := open(t, s, "s3")
		if diff := cmp.Diff(fold(small, large, next), third.mustLoad(t).Tree, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("after it (-want +got):\n%.2000s", diff)
		}
	})
}

func TestFence(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		a, _ := open(t, s, "a")
		b, _ := open(t, s, "b")
		a.mustLoad(t)
		b.mustLoad(t)
		a.mustPut(t, grown(0, 1))
		if err := b.put(t.Context(), grown(0, 1)); !errors.Is(err, ErrSuperseded) {
			t.Fatalf("a stale append gives %v", err)
		}
		if current, err := b.Current(t.Context(), 0); current || err != nil {
			t.Errorf("b takes itself for current: %v", err)
		}
		b.mustLoad(t)
		b.mustPut(t, grown(1, 1))
		if err := a.put(t.Context(), grown(1, 1)); !errors.Is(err, ErrSuperseded) {
			t.Fatalf("now a is stale, and gets %v", err)
		}
	})
}

// TestLostAnswer repeats a message that is in the log already.
func TestLostAnswer(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		d := grown(0, 1)
		j.mustPut(t, d)
		seq := j.Sequence()
		for _, wait := range []time.Duration{0, contracts.DedupWindow + time.Minute} {
			<-time.After(wait)
			j.last, j.number = 0, 0
			if err := j.put(t.Context(), d); err != nil {
				t.Fatalf("repeated after %s: %v", wait, err)
			}
			if j.Sequence() != seq {
				t.Errorf("repeated after %s: it is at %d, was at %d", wait, j.Sequence(), seq)
			}
		}
	})
}

// TestExpiredLog lets the log forget everything, as it does with a tree in
// which nothing happened for longer than events are kept.
func TestExpiredLog(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		d := grown(0, 3)
		j.mustPut(t, d)
		j.mustSave(t, fold(d), d.Cursor)
		natstest.Streams(t, j.env.JS) // expires all, see open
		if last, err := j.lastMessage(t.Context()); last != nil || err != nil {
			t.Fatalf("the log still has %v, %v", last, err)
		}
		more := grown(3, 1)
		if err := j.put(t.Context(), more); err != nil {
			t.Fatalf("a decision after a long silence: %v", err)
		}
		natstest.Streams(t, j.env.JS)
		again, _ := open(t, s, "b")
		st := again.mustLoad(t)
		if len(st.Tree.Nodes) != 4 || st.Fresh {
			t.Errorf("%d nodes from the snapshot alone, want 4", len(st.Tree.Nodes))
		}
		if err := again.put(t.Context(), grown(4, 1)); err != nil {
			t.Fatalf("a successor's decision: %v", err)
		}
	})
}

func TestAppendEndsWithItsContext(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		s.Down()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := j.put(ctx, grown(0, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a server: %v", err)
		}
		s.Up(t)
	})
}
