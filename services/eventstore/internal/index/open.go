package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

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
	return decodePosition(raw)
}

func decodePosition(raw []byte) (position Position, err error) {
	if err := json.Unmarshal(raw, &position); err != nil {
		return Position{}, fmt.Errorf("%w: position: %w", ErrCorrupt, err)
	}
	if a := position.Anchor; a.Sequence > position.Reached || len(a.ID) > MaxKeyBytes {
		return Position{}, fmt.Errorf("%w: position: its anchor is event %.40q at %d, but %d is reached", ErrCorrupt, a.ID, a.Sequence, position.Reached)
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
