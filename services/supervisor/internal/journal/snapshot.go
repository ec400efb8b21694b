package journal

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// snapshot is what the bucket holds of a tree, as gzipped JSON. One that does
// not fit into a value is cut: the tree's key holds this, without the tree, and
// Parts more keys hold the rest.
type snapshot struct {
	Version  int           `json:"version"`
	Number   uint64        `json:"number"`
	Sequence uint64        `json:"sequence"`
	Cursor   uint64        `json:"cursor"`
	Tree     tree.Snapshot `json:"tree"`
}

// manifest is the value of the tree's key.
type manifest struct {
	Number uint64 `json:"number"`
	Parts  int    `json:"parts"`
	// Data is the snapshot when it is small; then Parts is 0.
	Data []byte `json:"data,omitempty"`
}

const (
	snapshotVersion = 1
	// partSize keeps a value below the server's limit on messages.
	partSize = 512 << 10
	// maxSnapshot bounds what is unpacked.
	maxSnapshot = 1 << 30
)

var errSnapshot = errors.New("snapshot not usable")

func (j *Journal) partKey(number uint64, i int) string {
	return fmt.Sprintf("%s.%d.%d", contracts.TreeStateKey(j.tree), number, i)
}

// readSnapshot gives the stored snapshot, or an empty one.
func (j *Journal) readSnapshot(ctx context.Context) snapshot {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	entry, err := j.bucket.Get(ctx, contracts.TreeStateKey(j.tree))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return snapshot{}
	}
	var s snapshot
	if err == nil {
		j.revision = entry.Revision()
		s, err = j.unpack(ctx, entry.Value())
	}
	if err != nil {
		j.env.Log.Warn("snapshot ignored; the tree is rebuilt from the log", "tree", j.tree, "error", err)
		return snapshot{}
	}
	return s
}

func (j *Journal) unpack(ctx context.Context, value []byte) (snapshot, error) {
	var m manifest
	if err := json.Unmarshal(value, &m); err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	data := m.Data
	for i := range m.Parts {
		part, err := j.bucket.Get(ctx, j.partKey(m.Number, i))
		if err != nil {
			return snapshot{}, fmt.Errorf("%w: part %d of %d: %w", errSnapshot, i+1, m.Parts, err)
		}
		data = append(data, part.Value()...)
	}
	return decodeSnapshot(data)
}

// decodeSnapshot reads a packed snapshot and checks that it is a tree's.
func decodeSnapshot(data []byte) (snapshot, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxSnapshot))
	if err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	var s snapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if s.Version != snapshotVersion {
		return snapshot{}, fmt.Errorf("%w: version %d; this program reads %d", errSnapshot, s.Version, snapshotVersion)
	}
	if _, err := tree.Load(tree.Options{}, s.Tree); err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return s, nil
}

func encodeSnapshot(s snapshot) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if err := json.NewEncoder(z).Encode(s); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Unsaved is how many decisions the snapshot lacks.
func (j *Journal) Unsaved() uint64 { return j.number - j.saved }

// Save stores a snapshot of the tree as it is after the last decision. Failing
// costs nothing but a longer fold: the log has everything.
func (j *Journal) Save(ctx context.Context, t tree.Snapshot, cursor uint64) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	data, err := encodeSnapshot(snapshot{Version: snapshotVersion, Number: j.number, Sequence: j.last, Cursor: cursor, Tree: t})
	if err != nil {
		return fmt.Errorf("snapshot of tree %s: %w", j.tree, err)
	}
	m := manifest{Number: j.number}
	if len(data) <= partSize {
		m.Data = data
	}
	for m.Data == nil && m.Parts*partSize < len(data) {
		part := data[m.Parts*partSize : min(len(data), (m.Parts+1)*partSize)]
		if _, err := j.bucket.Put(ctx, j.partKey(m.Number, m.Parts), part); err != nil {
			return fmt.Errorf("snapshot of tree %s: part %d: %w", j.tree, m.Parts, err)
		}
		m.Parts++
	}
	value, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("snapshot of tree %s: %w", j.tree, err)
	}
	old := j.oldParts(ctx)
	if j.revision, err = j.bucket.Update(ctx, contracts.TreeStateKey(j.tree), value, j.revision); err != nil {
		return fmt.Errorf("snapshot of tree %s: %w", j.tree, err)
	}
	j.saved = j.number
	for _, key := range old {
		if err := j.bucket.Purge(ctx, key); err != nil {
			j.env.Log.Debug("old part of a snapshot not removed", "key", key, "error", err)
		}
	}
	return nil
}

// oldParts lists the keys of the stored snapshot's parts.
func (j *Journal) oldParts(ctx context.Context) []string {
	entry, err := j.bucket.Get(ctx, contracts.TreeStateKey(j.tree))
	var m manifest
	if err != nil || json.Unmarshal(entry.Value(), &m) != nil || m.Number == j.number {
		return nil
	}
	var keys []string
	for i := range m.Parts {
		keys = append(keys, j.partKey(m.Number, i))
	}
	return keys
}
