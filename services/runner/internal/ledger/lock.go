package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes the agent's lock, to be handed on to its process: as long as any
// process that inherited it lives, Lock gives ErrHeld.
func (l *Ledger) Lock(agent string) (*os.File, error) {
	if err := os.MkdirAll(l.path(agent, ""), 0o700); err != nil {
		return nil, fmt.Errorf("directory of agent %s: %w", agent, err)
	}
	// A child of ours on its way into another program holds copies of the
	// locks we have open. The fork lock is free when it has left our program;
	// the kernel closes the copies right after that, so a lock that is held
	// is tried again for a moment.
	for wait := time.Millisecond; ; wait *= 2 {
		f, err := l.tryAgent(agent)
		if err == nil || !errors.Is(err, ErrHeld) || wait > 32*time.Millisecond {
			return f, err
		}
		time.Sleep(wait)
	}
}

func (l *Ledger) tryAgent(agent string) (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(l.LockPath(agent), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of agent %s: %w", agent, err)
	}
	if err := tryLock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock of agent %s: %w", agent, err)
	}
	return f, nil
}

// Free reports whether the agent's lock is free: nil, ErrHeld, or what kept it
// from looking.
func (l *Ledger) Free(agent string) error {
	f, err := l.Lock(agent)
	if err != nil {
		return err
	}
	return f.Close()
}

// Renew replaces the agent's lock by a free one. Processes that hold the former
// one are then no concern of the next start: they were left on purpose.
func (l *Ledger) Renew(agent string) error {
	if err := os.Remove(l.LockPath(agent)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lock of agent %s: %w", agent, err)
	}
	return nil
}

// Inscribe writes into the agent's lock what its process was started as. The
// process holds the file open, so it says what it is for as long as it lives,
// also when the state directory was removed.
func (l *Ledger) Inscribe(rec Record) error {
	rec.Version, rec.Outbox = recordVersion, nil
	b, err := json.Marshal(rec)
	if err == nil {
		err = overwrite(l.LockPath(rec.Agent), b, false)
	}
	if err != nil {
		return fmt.Errorf("lock of agent %s: %w", rec.Agent, err)
	}
	return nil
}

// maxInscription bounds what is read of a lock.
const maxInscription = 1 << 20

// Inscription reads what a runner of this user wrote into the lock that a
// process holds; path names its descriptor.
func Inscription(path string) (Record, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Record{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	switch err := unix.Fstat(int(f.Fd()), &st); {
	case err != nil:
		return Record{}, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid():
		return Record{}, fmt.Errorf("%w: it is not a file of this user", ErrCorrupt)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxInscription))
	if err != nil {
		return Record{}, err
	}
	return Decode(b)
}

// InUse reports whether a runner uses a state directory, which may be another
// runner's. One that is not there is not used.
func InUse(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "runner.lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}
