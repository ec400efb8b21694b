package journal

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// snapshot is what the bucket holds of a tree, as gzipped JSON. It is written
// and read node by node: as a whole, the JSON of a large tree would take more
// memory than the tree.
type snapshot struct {
	Version  int           `json:"version"`
	Number   uint64        `json:"number"`
	Sequence uint64        `json:"sequence"`
	Cursor   uint64        `json:"cursor"`
	Tree     tree.Snapshot `json:"tree"`
}

// maxSnapshot bounds what is unpacked.
const maxSnapshot = 1 << 30

var errSnapshot = errors.New("snapshot not usable")

// pack writes the snapshot.
func (s *snapshot) pack(w io.Writer) error {
	// Its size costs little, the time that packing takes a whole processor.
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	out := packer{w: z, json: json.NewEncoder(z)}
	out.printf(`{"version":%d,"number":%d,"sequence":%d,"cursor":%d,"tree":{"tombstones":`, s.Version, s.Number, s.Sequence, s.Cursor)
	out.value(s.Tree.Tombstones)
	out.printf(`,"nodes":{`)
	for i, id := range slices.Sorted(maps.Keys(s.Tree.Nodes)) {
		if i > 0 {
			out.printf(",")
		}
		out.value(id)
		out.printf(":")
		out.value(s.Tree.Nodes[id])
	}
	out.printf("}}}")
	if out.err != nil {
		return out.err
	}
	return z.Close()
}

// packer writes until something goes wrong.
type packer struct {
	w    io.Writer
	json *json.Encoder
	err  error
}

func (p *packer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *packer) value(v any) {
	if p.err == nil {
		p.err = p.json.Encode(v)
	}
}

// decodeSnapshot reads a packed snapshot and checks that it is a tree's. One that
// cannot be used is errSnapshot; one that only a newer program can use is
// [tree.ErrVersion].
func decodeSnapshot(data []byte) (snapshot, error) {
	var s snapshot
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		err = s.unpack(json.NewDecoder(io.LimitReader(z, maxSnapshot)))
	}
	if err == nil {
		err = tree.CheckVersion(s.Version)
	}
	if errors.Is(err, tree.ErrVersion) {
		return snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	if err == nil {
		err = s.Tree.Validate()
	}
	if err != nil {
		return snapshot{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return s, nil
}

func (s *snapshot) unpack(in *json.Decoder) error {
	err := object(in, func(key string) error {
		switch key {
		case "version":
			return in.Decode(&s.Version)
		case "number":
			return in.Decode(&s.Number)
		case "sequence":
			return in.Decode(&s.Sequence)
		case "cursor":
			return in.Decode(&s.Cursor)
		case "tree":
			return s.unpackTree(in)
		}
		return skip(in)
	})
	if err != nil {
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows it: %v", err)
	}
	return nil
}

func (s *snapshot) unpackTree(in *json.Decoder) error {
	var shared tree.Shared
	return object(in, func(key string) error {
		switch key {
		case "tombstones":
			return in.Decode(&s.Tree.Tombstones)
		case "nodes":
			s.Tree.Nodes = map[string]*tree.Record{}
			return object(in, func(id string) error {
				r, err := s.unpackRecord(in)
				if err != nil {
					return fmt.Errorf("node %q: %w", id, err)
				}
				shared.Record(r)
				s.Tree.Nodes[id] = r
				return nil
			})
		}
		return skip(in)
	})
}

// unpackRecord reads a node. The form that it is stored in comes before it.
func (s *snapshot) unpackRecord(in *json.Decoder) (*tree.Record, error) {
	if s.Version == tree.Version {
		r := &tree.Record{}
		return r, in.Decode(r)
	}
	if s.Version < 1 {
		return nil, errors.New("its form is not known")
	}
	var raw json.RawMessage
	if err := in.Decode(&raw); err != nil {
		return nil, err
	}
	return tree.ReadRecord(s.Version, raw)
}

// skip reads over a value that a later program may have added.
func skip(in *json.Decoder) error {
	var unknown json.RawMessage
	return in.Decode(&unknown)
}

// object reads an object; each reads the value of a key. Null is an empty one.
func object(in *json.Decoder, each func(key string) error) error {
	begin, err := in.Token()
	if err != nil || begin == nil {
		return err
	}
	if begin != json.Delim('{') {
		return fmt.Errorf("%v where an object should begin", begin)
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		if err := each(key.(string)); err != nil {
			return err
		}
	}
	_, err = in.Token()
	return err
}
