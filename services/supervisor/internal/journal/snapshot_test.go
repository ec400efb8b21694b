package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func TestSnapshotInParts(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		d := grown(0, 10)
		for i := range d.Changes {
			d.Changes[i].State.Why = noise(t, 90_000)
		}
		j.mustPut(t, d)
		for range 2 {
			j.mustSave(t, fold(d), d.Cursor)
			j.mustPut(t, &decisionlog.Decision{ID: uuid.NewString(), Type: contracts.TreeDecided, At: tree.Instant(time.Now().UnixNano()), Cursor: d.Cursor})
		}
		again, _ := open(t, s, "b")
		st := again.mustLoad(t)
		if st.Folded != 1 {
			t.Errorf("folded %d decisions beyond the snapshot, want 1", st.Folded)
		}
		if diff := cmp.Diff(fold(d), st.Tree, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%.2000s", diff)
		}
	})
}

// TestInterruptedSnapshot: the parts of a snapshot whose maker was killed go
// with a later snapshot. Those of one that somebody is about to store stay, and
// so do other trees'.
func TestInterruptedSnapshot(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		d := grown(0, 3)
		d.Changes[1].State.Why, d.Changes[2].State.Why = noise(t, 300_000), noise(t, 300_000)
		j.mustPut(t, d)
		killed := j.Saving(fold(d), d.Cursor)
		if err := killed.pack(&partWriter{ctx: t.Context(), s: killed}); err != nil || killed.parts == 0 {
			t.Fatalf("%d parts, %v", killed.parts, err)
		}
		for _, key := range []string{"tree.main.3.0", "tree.main2.1.0"} {
			if _, err := j.bucket.kv.PutString(t.Context(), key, "x"); err != nil {
				t.Fatal(err)
			}
		}
		successor, _ := open(t, s, "b")
		successor.mustLoad(t)
		successor.mustPut(t, grown(3, 1))
		saving := successor.Saving(fold(d), d.Cursor)
		for range 2 {
			if err := errors.Join(saving.Store(t.Context()), saving.Sweep(t.Context())); err != nil {
				t.Fatal(err)
			}
			keys, err := j.bucket.kv.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(keys)
			if want := []string{"tree.main", "tree.main.2.0", "tree.main.2.1", "tree.main.3.0", "tree.main2.1.0"}; !slices.Equal(keys, want) {
				t.Errorf("left are %v, want %v", keys, want)
			}
			saving.parts = 0
		}
		again, _ := open(t, s, "c")
		if st := again.mustLoad(t); st.Folded != 0 || len(st.Tree.Nodes) != 4 {
			t.Errorf("%d nodes, %d decisions beyond the snapshot", len(st.Tree.Nodes), st.Folded)
		}
	})
}

// meddled is a bucket in which something happens before a part is read.
type meddled struct {
	jetstream.KeyValue
	before func()
}

func (m *meddled) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	if before := m.before; before != nil && strings.Count(key, ".") > 1 {
		m.before = nil
		before()
	}
	return m.KeyValue.Get(ctx, key)
}

// TestSnapshotReplacedWhileRead: whoever reads a snapshot while a later one takes
// its place reads the later one.
func TestSnapshotReplacedWhileRead(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		d := grown(0, 3)
		d.Changes[1].State.Why, d.Changes[2].State.Why = noise(t, 300_000), noise(t, 300_000)
		save := func(d *decisionlog.Decision, all tree.Snapshot) {
			if err := errors.Join(j.put(t.Context(), d), j.Save(t.Context(), all, d.Cursor)); err != nil {
				t.Fatal(err)
			}
		}
		save(d, fold(d))
		reader, _ := open(t, s, "b")
		reader.bucket.kv = &meddled{reader.bucket.kv, func() {
			more := grown(3, 1)
			save(more, fold(d, more))
		}}
		if st := reader.mustLoad(t); st.Folded != 0 || len(st.Tree.Nodes) != 5 {
			t.Errorf("%d nodes, %d decisions beyond the snapshot", len(st.Tree.Nodes), st.Folded)
		}
	})
}

// noise is text that does not compress.
func noise(t *testing.T, bytes int) string {
	t.Helper()
	raw := make([]byte, bytes)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// TestCorruptSnapshot: the tree is rebuilt from the log, and that is said.
func TestCorruptSnapshot(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		d := grown(0, 10)
		j.mustPut(t, d)
		j.mustSave(t, fold(d), d.Cursor)
		whole, err := j.bucket.kv.Get(t.Context(), contracts.TreeStateKey("main"))
		if err != nil {
			t.Fatal(err)
		}
		value := string(whole.Value())
		for _, bad := range []string{"", "{", value[:len(value)/2], strings.Replace(value, value[len(value)/2:len(value)/2+8], "AAAAAAAA", 1), `{"number":3,"parts":7}`} {
			if _, err := j.bucket.kv.PutString(t.Context(), contracts.TreeStateKey("main"), bad); err != nil {
				t.Fatal(err)
			}
			again, _ := open(t, s, "b")
			var said strings.Builder
			again.env.Log = slog.New(slog.NewTextHandler(&said, nil))
			st := again.mustLoad(t)
			if diff := cmp.Diff(fold(d), st.Tree, cmpopts.EquateEmpty()); diff != "" || st.Folded != 1 || st.Cursor != d.Cursor {
				t.Errorf("snapshot %.20q: folded %d, cursor %d (-want +got):\n%.2000s", bad, st.Folded, st.Cursor, diff)
			}
			if !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), "rebuilt from the log") {
				t.Errorf("snapshot %.20q: it says %q", bad, said.String())
			}
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	var packed bytes.Buffer
	s := snapshot{Version: tree.Version, Number: 3, Tree: fold(grown(0, 2))}
	if err := s.pack(&packed); err != nil {
		f.Fatal(err)
	}
	good := packed.Bytes()
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSnapshot(data)
		if err != nil {
			if !errors.Is(err, errSnapshot) && !errors.Is(err, tree.ErrVersion) {
				t.Fatalf("%v", err)
			}
			return
		}
		if _, err := tree.Load(tree.Options{}, s.Tree); err != nil {
			t.Fatalf("accepted, and cannot be loaded: %v", err)
		}
	})
}

// TestSnapshotAfterADeletion: a snapshot is stored again when somebody has deleted it.
func TestSnapshotAfterADeletion(t *testing.T) {
	inJournal(t, func(t *testing.T, _ *natstest.Server, j *Journal) {
		j.mustPut(t, grown(0, 1))
		key := contracts.TreeStateKey("main")
		for name, remove := range map[string]func() error{
			"deleted": func() error { return j.bucket.kv.Delete(t.Context(), key) },
			"purged":  func() error { return j.bucket.kv.Purge(t.Context(), key) },
		} {
			if err := remove(); err != nil {
				t.Fatal(err)
			}
			if err := j.Save(t.Context(), fold(grown(0, 1)), 1); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
