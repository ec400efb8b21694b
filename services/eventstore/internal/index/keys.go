package index

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Keys are a kind, then the key itself behind its length, then the sequence
// where one key has many. Numbers are big-endian, so that the order of keys is
// that of sequences.
const (
	kindMeta        = 'm' // the Position, as JSON
	kindID          = 'i' // id -> sequence
	kindCorrelation = 'c' // id, sequence
	kindCausation   = 'u' // id, sequence
	kindMisdated    = 't' // time, sequence
	kindEntry       = 's' // sequence -> the entry, for pruning
)

var (
	metaKey = []byte{kindMeta}
	// keySpace is every key there is, as [first, last).
	keySpaceFirst, keySpaceLast = []byte{0}, []byte{0xff}
)

// timeBits maps times to numbers in the same order. Times more than 272 years
// from 1970 fall together at the ends.
func timeBits(t time.Time) uint64 {
	const span = 1 << 33 // seconds
	s := t.Unix()
	switch {
	case s < -span:
		return 0
	case s >= span:
		return math.MaxUint64
	}
	return uint64(t.UnixNano()) ^ (1 << 63)
}

func idKey(id string) []byte {
	return append([]byte{kindID, byte(len(id))}, id...)
}

// listPrefix starts the keys of all events that name id in a kind.
func listPrefix(kind byte, id string) []byte {
	k := make([]byte, 0, 2+len(id)+8)
	return append(append(k, kind, byte(len(id))), id...)
}

func listKey(kind byte, id string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(listPrefix(kind, id), seq)
}

func misdatedPrefix(t time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindMisdated}, timeBits(t))
}

func misdatedKey(t time.Time, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(misdatedPrefix(t), seq)
}

func entryKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindEntry}, seq)
}

// lastSequence is the sequence at the end of a key.
func lastSequence(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[len(key)-8:])
}

// encodeEntry gives the value of an entry's key: three strings behind their
// lengths, then the time where there is one.
func encodeEntry(e Entry) []byte {
	out := make([]byte, 0, 3+len(e.ID)+len(e.Correlation)+len(e.Causation)+12)
	for _, s := range [...]string{e.ID, e.Correlation, e.Causation} {
		out = append(append(out, byte(len(s))), s...)
	}
	if !e.Misdated.IsZero() {
		out = binary.BigEndian.AppendUint64(out, uint64(e.Misdated.Unix()))
		out = binary.BigEndian.AppendUint32(out, uint32(e.Misdated.Nanosecond()))
	}
	return out
}

var errEntry = errors.New("cut short")

func decodeEntry(seq uint64, raw []byte) (Entry, error) {
	e := Entry{Sequence: seq}
	for _, s := range [...]*string{&e.ID, &e.Correlation, &e.Causation} {
		if len(raw) < 1 || len(raw) < 1+int(raw[0]) {
			return e, errEntry
		}
		*s, raw = string(raw[1:1+int(raw[0])]), raw[1+int(raw[0]):]
	}
	switch len(raw) {
	case 0:
		return e, nil
	case 12:
		sec, nsec := int64(binary.BigEndian.Uint64(raw)), int64(binary.BigEndian.Uint32(raw[8:]))
		e.Misdated = time.Unix(sec, nsec).UTC()
		return e, nil
	default:
		return e, errEntry
	}
}
