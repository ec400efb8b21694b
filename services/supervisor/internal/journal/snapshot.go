package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// manifest is the value of the tree's key in the bucket. A snapshot that does
// not fit into a value is cut: Parts more keys hold it.
type manifest struct {
	Number uint64 `json:"number"`
	Parts  int    `json:"parts"`
	// Data is the snapshot when it is small; then Parts is 0.
	Data []byte `json:"data,omitempty"`
}

// partSize keeps a value below the server's limit on messages.
const partSize = 512 << 10

func partKey(treeName string, number uint64, i int) string {
	return fmt.Sprintf("%s.%d.%d", contracts.TreeStateKey(treeName), number, i)
}

// readSnapshot returns the stored snapshot, or an empty one where there is none
// that can be used. It tries until it knows: without its snapshot, a tree is only
// whole as long as the log reaches back to its beginning.
func (j *Journal) readSnapshot(ctx context.Context) (snapshot, error) {
	for tried := uint64(0); ; {
		entry, err := j.find(ctx, contracts.TreeStateKey(j.tree))
		if err != nil || entry == nil {
			return snapshot{}, err
		}
		s, err := j.read(ctx, entry.Value())
		if !errors.Is(err, errSnapshot) {
			return s, err
		}
		if entry.Revision() != tried {
			tried = entry.Revision() // a later one may have taken its place
			continue
		}
		j.env.Log.Warn("snapshot ignored; the tree is rebuilt from the log", "tree", j.tree, "error", err)
		return snapshot{}, nil
	}
}

func (j *Journal) read(ctx context.Context, value []byte) (snapshot, error) {
	var m manifest
	if err := json.Unmarshal(value, &m); err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	data := m.Data
	for i := range m.Parts {
		part, err := j.find(ctx, partKey(j.tree, m.Number, i))
		if err != nil {
			return snapshot{}, err
		}
		if part == nil {
			return snapshot{}, fmt.Errorf("%w: part %d of %d is missing", errSnapshot, i+1, m.Parts)
		}
		data = append(data, part.Value()...)
	}
	return decodeSnapshot(data)
}

// find returns what the bucket has under a key, nil where it has nothing. It tries
// until it knows: a guard that refuses, a lost connection and silence say nothing
// of what is stored.
func (j *Journal) find(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	for {
		if err := j.connected(ctx); err != nil {
			return nil, err
		}
		entry, err := j.bucket.get(ctx, key)
		switch {
		case err == nil:
			return entry, nil
		case errors.Is(err, jetstream.ErrKeyNotFound):
			return nil, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		j.env.Log.Warn("snapshot not readable yet", "tree", j.tree, "key", key, "error", err)
		if err := shell.Pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// Unsaved is how many decisions the snapshot lacks.
func (j *Journal) Unsaved() uint64 { return j.number - j.saved }

// Save stores a snapshot of the tree as it is after the last decision. Failing
// costs nothing but a longer fold: the log has everything.
func (j *Journal) Save(ctx context.Context, t tree.Snapshot, cursor uint64) error {
	s := j.Saving(t, cursor)
	if err := s.Store(ctx); err != nil {
		return err
	}
	j.Saved(s)
	return nil
}

// Saving is a tree as it was after a decision, on its way into the bucket.
type Saving struct {
	snapshot
	env    shell.Env
	tree   string
	bucket bucket
	// parts are stored already.
	parts int
}

// Saving takes the tree as it is after the last decision; nobody may change it
// any more.
func (j *Journal) Saving(t tree.Snapshot, cursor uint64) *Saving {
	return &Saving{
		snapshot: snapshot{Version: tree.Version, Number: j.number, Sequence: j.last, Cursor: cursor, Tree: t},
		env:      j.env, tree: j.tree, bucket: j.bucket,
	}
}

// Store packs the snapshot and stores it, unless there is a later one. It may
// run beside the journal that it is from.
func (s *Saving) Store(ctx context.Context) error {
	if err := s.store(ctx); err != nil {
		return fmt.Errorf("snapshot of tree %s after decision %d: %w", s.tree, s.Number, err)
	}
	return nil
}

func (s *Saving) store(ctx context.Context) error {
	out := partWriter{ctx: ctx, s: s}
	if err := s.pack(&out); err != nil {
		return err
	}
	m := manifest{Number: s.Number, Data: out.rest}
	if s.parts > 0 {
		if err := out.put(out.rest); err != nil {
			return err
		}
		m.Parts, m.Data = s.parts, nil
	}
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	old, revision, err := s.stored(ctx)
	if err != nil {
		return err
	}
	if old.Number > s.Number {
		return fmt.Errorf("decision %d has been stored already", old.Number)
	}
	if err := s.bucket.update(ctx, contracts.TreeStateKey(s.tree), value, revision); err != nil {
		return err
	}
	if old.Number != s.Number {
		s.removeParts(ctx, old)
	}
	return nil
}

// stored returns what the tree's key holds, and its revision, 0 for none.
func (s *Saving) stored(ctx context.Context) (m manifest, revision uint64, err error) {
	entry, err := s.bucket.get(ctx, contracts.TreeStateKey(s.tree))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return m, 0, nil
	}
	if err != nil {
		return m, 0, err
	}
	if json.Unmarshal(entry.Value(), &m) != nil {
		m = manifest{} // nobody can use it; it is replaced
	}
	return m, entry.Revision(), nil
}

// removeParts removes the parts of the snapshot before.
func (s *Saving) removeParts(ctx context.Context, old manifest) {
	for i := range old.Parts {
		if err := s.bucket.purge(ctx, partKey(s.tree, old.Number, i)); err != nil {
			s.env.Log.Debug("old part of a snapshot not removed", "tree", s.tree, "number", old.Number, "part", i, "error", err)
		}
	}
}

// Sweep removes the parts of older snapshots that were never completed, since
// whoever made them ended meanwhile, or never removed. Nobody can complete them
// once this one is stored, which it must be. It may run beside the journal.
func (s *Saving) Sweep(ctx context.Context) error {
	fail := func(err error) error {
		return fmt.Errorf("parts of old snapshots of tree %s: %w", s.tree, err)
	}
	prefix := contracts.TreeStateKey(s.tree) + "."
	keys, err := s.bucket.keys(ctx, prefix+">")
	if err != nil {
		return fail(err)
	}
	var old []string
	for _, key := range keys {
		number, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), ".")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && n < s.Number {
			old = append(old, key)
		}
	}
	for _, key := range old {
		if err := s.bucket.purge(ctx, key); err != nil {
			return fail(err)
		}
	}
	if len(old) > 0 {
		s.env.Log.Info("parts of snapshots that were never completed are removed", "tree", s.tree, "parts", len(old))
	}
	return nil
}

// Saved notes that a snapshot has been stored.
func (j *Journal) Saved(s *Saving) { j.saved = s.Number }

// partWriter stores what is written to it part by part, all but the last.
type partWriter struct {
	ctx  context.Context
	s    *Saving
	rest []byte
}

func (w *partWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for len(w.rest) > partSize {
		if err := w.put(w.rest[:partSize]); err != nil {
			return 0, err
		}
		w.rest = append(w.rest[:0], w.rest[partSize:]...)
	}
	return len(p), nil
}

func (w *partWriter) put(part []byte) error {
	if err := w.s.bucket.put(w.ctx, partKey(w.s.tree, w.s.Number, w.s.parts), part); err != nil {
		return fmt.Errorf("part %d: %w", w.s.parts, err)
	}
	w.s.parts++
	return nil
}
