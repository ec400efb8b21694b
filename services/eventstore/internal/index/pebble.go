package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble is an Index on disk. It keeps no write-ahead log: a crash loses the
// last batches as a whole, together with the position that says they were
// there, and they are applied again from the stream.
type Pebble struct {
	db   *pebble.DB
	lock *pebble.Lock

	// damaged is set when the database finds damage, be it in the background.
	damaged *atomic.Bool

	mu       sync.RWMutex
	position Position
}

var _ Index = (*Pebble)(nil)

// Options says where and how a Pebble index is kept.
type Options struct {
	// Dir is a directory for the index alone: it is emptied when what is in it
	// cannot be read.
	Dir string
	// FS is the file system; nil is the machine's.
	FS vfs.FS
	// MemTableBytes is how much is collected in memory before it is written;
	// 0 is 16 MiB. Three such tables exist at most.
	MemTableBytes uint64
	// Discard removes what is there first.
	Discard bool
	// Log receives what the database has to say; nil is silent.
	Log *slog.Logger
}

// ErrLocked tells that another process has the index open.
var ErrLocked = errors.New("in use by another process")

// Open opens the index in o.Dir, or starts an empty one there. When what is
// there is corrupt it is removed first, and rebuilt says so: an index is
// disposable. A directory that cannot be used at all is an error.
func Open(o Options) (ix *Pebble, rebuilt bool, err error) {
	o = o.withDefaults()
	lock, err := lockDir(o)
	if err != nil {
		return nil, false, err
	}
	if o.Discard {
		if err := clear(o); err != nil {
			return nil, false, errors.Join(placeError(o.Dir, err), lock.Close())
		}
	}
	damaged := new(atomic.Bool)
	db, position, err := open(o, lock, damaged)
	if err != nil && disposable(err) {
		o.Log.Warn("the event index cannot be read and is built anew", "dir", o.Dir, "error", err)
		rebuilt = true
		if err = clear(o); err == nil {
			damaged.Store(false)
			db, position, err = open(o, lock, damaged)
		}
	}
	if err != nil {
		return nil, false, errors.Join(placeError(o.Dir, err), lock.Close())
	}
	return &Pebble{db: db, lock: lock, damaged: damaged, position: position}, rebuilt, nil
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// lockDir makes the directory and takes its lock, which spans the removal of
// what is corrupt.
func lockDir(o Options) (*pebble.Lock, error) {
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, placeError(o.Dir, err)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	var path *fs.PathError
	switch {
	case err == nil:
		return lock, nil
	case errors.As(err, &path): // the lock's file could not be made
		return nil, placeError(o.Dir, err)
	default:
		return nil, fmt.Errorf("event index %s: %w (%w); give each event store a directory of its own", o.Dir, ErrLocked, err)
	}
}

func open(o Options, lock *pebble.Lock, damaged *atomic.Bool) (*pebble.DB, Position, error) {
	opts := &pebble.Options{
		FS:                 o.FS,
		Lock:               lock,
		DisableWAL:         true,
		MemTableSize:       o.MemTableBytes,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger{o.Log},
		EventListener: &pebble.EventListener{DataCorruption: func(i pebble.DataCorruptionInfo) {
			damaged.Store(true)
			o.Log.Error("event index: damaged file", "file", i.Path, "error", i.Details)
		}},
	}
	for i := range opts.Levels { // most ids asked about while applying are new
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(o.Dir, opts)
	if err != nil {
		return nil, Position{}, err
	}
	position, err := load(db)
	if err != nil {
		return nil, Position{}, errors.Join(err, db.Close())
	}
	return db, position, nil
}

func load(db *pebble.DB) (Position, error) {
	var position Position
	raw, closer, err := db.Get(metaKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return position, nil
	}
	if err != nil {
		return position, wrap("position", err)
	}
	defer closer.Close()
	if err := json.Unmarshal(raw, &position); err != nil {
		return position, fmt.Errorf("%w: position: %w", ErrCorrupt, err)
	}
	return position, nil
}

// clear removes everything in the directory but the lock that is held.
func clear(o Options) error {
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == lockFile {
			continue
		}
		err = errors.Join(err, o.FS.RemoveAll(o.FS.PathJoin(o.Dir, name)))
	}
	return err
}

// Position implements Index.
func (p *Pebble) Position() Position {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.position
}

// Apply implements Index.
func (p *Pebble) Apply(entries []Entry, reached uint64) (duplicates int, err error) {
	next := p.Position()
	if err := check(next.Reached, entries, reached); err != nil {
		return 0, err
	}
	if p.damaged.Load() {
		return 0, fmt.Errorf("%w: a file was found damaged", ErrCorrupt)
	}
	b := p.db.NewBatch()
	defer b.Close()
	inBatch := make(map[string]bool, len(entries))
	for _, e := range entries {
		known, err := p.known(e.ID)
		if err != nil {
			return 0, err
		}
		if known || inBatch[e.ID] {
			duplicates++
			continue
		}
		inBatch[e.ID] = true
		if err := put(b, e); err != nil {
			return 0, err
		}
		next.Anchor = Anchor{Sequence: e.Sequence, ID: e.ID}
	}
	next.Reached = reached
	return duplicates, p.commit(b, next)
}

func (p *Pebble) known(id string) (bool, error) {
	_, err := p.Sequence(id)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

func put(b *pebble.Batch, e Entry) error {
	err := errors.Join(
		b.Set(idKey(e.ID), binary.BigEndian.AppendUint64(nil, e.Sequence), nil),
		b.Set(entryKey(e.Sequence), encodeEntry(e), nil),
	)
	for _, k := range listKeys(e) {
		err = errors.Join(err, b.Set(k, nil, nil))
	}
	return err
}

// listKeys are the keys of an entry that have no value.
func listKeys(e Entry) [][]byte {
	var keys [][]byte
	if e.Correlation != "" {
		keys = append(keys, listKey(kindCorrelation, e.Correlation, e.Sequence))
	}
	if e.Causation != "" {
		keys = append(keys, listKey(kindCausation, e.Causation, e.Sequence))
	}
	if !e.Misdated.IsZero() {
		keys = append(keys, misdatedKey(e.Misdated, e.Sequence))
	}
	return keys
}

// commit writes a batch together with the position it leads to.
func (p *Pebble) commit(b *pebble.Batch, next Position) error {
	raw, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("position: %w", err)
	}
	if err := errors.Join(b.Set(metaKey, raw, nil), b.Commit(pebble.NoSync)); err != nil {
		return wrap("writing", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position = next
	return nil
}

// Reset implements Index.
func (p *Pebble) Reset(stream time.Time) error {
	b := p.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(keySpaceFirst, keySpaceLast, nil); err != nil {
		return wrap("reset", err)
	}
	return p.commit(b, Position{Stream: stream})
}

// pruneBatch is how many entries are removed in one step.
const pruneBatch = 4096

// Prune implements Index.
func (p *Pebble) Prune(before uint64) (removed int, err error) {
	for {
		n, err := p.pruneSome(before)
		removed += n
		if err != nil || n < pruneBatch {
			return removed, err
		}
	}
}

func (p *Pebble) pruneSome(before uint64) (n int, err error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(0), UpperBound: entryKey(before)})
	if err != nil {
		return 0, wrap("prune", err)
	}
	defer func() { err = errors.Join(err, wrap("prune", it.Close())) }()
	b := p.db.NewBatch()
	defer b.Close()
	for ok := it.First(); ok && n < pruneBatch; ok = it.Next() {
		e, err := decodeEntry(lastSequence(it.Key()), it.Value())
		if err != nil {
			return 0, fmt.Errorf("%w: entry %d: %w", ErrCorrupt, lastSequence(it.Key()), err)
		}
		keys := append(listKeys(e), idKey(e.ID), entryKey(e.Sequence))
		for _, k := range keys {
			if err := b.Delete(k, nil); err != nil {
				return 0, wrap("prune", err)
			}
		}
		n++
	}
	return n, wrap("prune", b.Commit(pebble.NoSync))
}

// Sequence implements Index.
func (p *Pebble) Sequence(id string) (uint64, error) {
	if id == "" || len(id) > MaxKeyBytes {
		return 0, fmt.Errorf("event %.80q: %w", id, ErrUnknown)
	}
	raw, closer, err := p.db.Get(idKey(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, fmt.Errorf("event %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return 0, wrap("event "+id, err)
	}
	defer closer.Close()
	if len(raw) != 8 {
		return 0, fmt.Errorf("%w: event %s has a sequence of %d bytes", ErrCorrupt, id, len(raw))
	}
	return binary.BigEndian.Uint64(raw), nil
}

// Correlated implements Index.
func (p *Pebble) Correlated(id string, after uint64, limit int) ([]uint64, error) {
	return p.list(kindCorrelation, id, after, limit)
}

// Caused implements Index.
func (p *Pebble) Caused(id string, after uint64, limit int) ([]uint64, error) {
	return p.list(kindCausation, id, after, limit)
}

func (p *Pebble) list(kind byte, id string, after uint64, limit int) ([]uint64, error) {
	if id == "" || len(id) > MaxKeyBytes || after == math.MaxUint64 {
		return nil, nil
	}
	return p.scan(listKey(kind, id, after+1), append(listKey(kind, id, math.MaxUint64), 0), limit)
}

// Misdated implements Index.
func (p *Pebble) Misdated(from, to time.Time, limit int) ([]uint64, error) {
	lower, upper := []byte{kindMisdated}, []byte{kindMisdated + 1}
	if !from.IsZero() {
		lower = misdatedPrefix(from)
	}
	if !to.IsZero() {
		upper = misdatedPrefix(to)
	}
	found, err := p.scan(lower, upper, limit+1)
	if err != nil {
		return nil, err
	}
	if len(found) > limit {
		return nil, tooManyMisdated(limit)
	}
	slices.Sort(found)
	return found, nil
}

// scan gives the sequences at the ends of the keys in [lower, upper).
func (p *Pebble) scan(lower, upper []byte, limit int) (found []uint64, err error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, wrap("list", err)
	}
	for ok := it.First(); ok && len(found) < limit; ok = it.Next() {
		found = append(found, lastSequence(it.Key()))
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, wrap("list", err)
	}
	return found, nil
}

// Flush writes what is in memory to disk, so that less is applied again after
// a crash.
func (p *Pebble) Flush() error { return wrap("flush", p.db.Flush()) }

// Close flushes and closes the index.
func (p *Pebble) Close() error {
	return errors.Join(p.Flush(), wrap("close", p.db.Close()), p.lock.Close())
}

// wrap marks what the database calls corruption as ErrCorrupt.
func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
	default:
		return fmt.Errorf("event index: %s: %w", what, err)
	}
}

// lockFile is what the database calls its lock.
const lockFile = "LOCK"

// disposable tells whether an error of opening an index means that its files
// are unusable, and not that the place is.
func disposable(err error) bool {
	place := []error{
		os.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ENOTDIR,
		syscall.EMFILE, syscall.ENFILE, syscall.EIO,
	}
	return !slices.ContainsFunc(place, func(p error) bool { return errors.Is(err, p) })
}

func placeError(dir string, err error) error {
	return fmt.Errorf("event index %s: %w; it needs a directory on a disk with room, which this process may write to", dir, err)
}

// logger gives the database's words to slog. Its chatter is left out.
type logger struct{ log *slog.Logger }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("event index", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: the database cannot go on, for example because its
// manifest cannot be written.
func (l logger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("event index: "+format, args...))
}
