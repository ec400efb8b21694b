// Package ledger is a runner's memory on disk: one directory per agent with
// its record, its lock and its output.
//
// A record is replaced whole, so that a reader finds the old or the new one and
// never half of either: Write does that, and outlives every process; Save also
// waits for the disk, and outlives a loss of power. The state directory belongs
// to one runner at a time.
//
//	<state dir>/runner.lock             held while a runner uses the directory
//	<state dir>/agents/<agent>/record.json, record.json.before
//	<state dir>/agents/<agent>/lock     held by the agent's own processes
//	<state dir>/agents/<agent>/output.fifo, output/   see package output
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

var (
	// ErrInUse tells that another runner uses the state directory.
	ErrInUse = errors.New("state directory in use")
	// ErrHeld tells that a process of the agent still lives.
	ErrHeld = errors.New("agent's lock is held")
	// ErrCorrupt tells that a record cannot be read; it has been set aside.
	ErrCorrupt = errors.New("corrupt record")
)

// Ledger is an open state directory.
type Ledger struct {
	dir  string
	lock *os.File
}

// Open takes the state directory, creating it if need be. It waits until ctx
// is done for a predecessor that is just ending, then gives ErrInUse.
//
// Holding the directory also proves that nothing of a killed predecessor is
// still between fork and exec, because such a child holds its lock too.
func Open(ctx context.Context, dir, runner string) (*Ledger, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "agents"), 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w; choose one that this user may write", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "runner.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w; choose one that this user may write", err)
	}
	if err := waitLock(ctx, f); err != nil {
		holder, _ := os.ReadFile(f.Name())
		f.Close()
		if errors.Is(err, ErrHeld) {
			return nil, fmt.Errorf("%w: %s belongs to %s; give every runner a directory of its own", ErrInUse, dir, describe(holder))
		}
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	holder := fmt.Sprintf("runner %q, process %d", runner, os.Getpid())
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(holder), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	return &Ledger{dir: dir, lock: f}, nil
}

func describe(holder []byte) string {
	if len(holder) == 0 {
		return "another runner"
	}
	return string(holder[:min(len(holder), 200)])
}

func waitLock(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := tryLock(f)
		if !errors.Is(err, ErrHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func tryLock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}

// Dir is the state directory, absolute.
func (l *Ledger) Dir() string { return l.dir }

// Close gives the state directory up.
func (l *Ledger) Close() error { return l.lock.Close() }

// Agents lists every agent that has a directory.
func (l *Ledger) Agents() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(l.dir, "agents"))
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	var agents []string
	for _, e := range entries {
		if e.IsDir() && contracts.ValidateID(e.Name()) == nil {
			agents = append(agents, e.Name())
		}
	}
	return agents, nil
}

// LockPath is the file whose lock the agent's processes hold.
func (l *Ledger) LockPath(agent string) string { return l.path(agent, "lock") }

// FIFOPath is what the agent prints to, OutputDir where that is stored.
func (l *Ledger) FIFOPath(agent string) string  { return l.path(agent, "output.fifo") }
func (l *Ledger) OutputDir(agent string) string { return l.path(agent, "output") }

func (l *Ledger) path(agent, file string) string {
	return filepath.Join(l.dir, "agents", agent, file)
}

// Load reads an agent's record; one that was never saved is the zero Record
// with the agent's name. A record that cannot be understood is moved aside and
// reported as ErrCorrupt together with such a zero Record.
func (l *Ledger) Load(agent string) (Record, error) {
	fresh := Record{Agent: agent}
	b, err := os.ReadFile(l.path(agent, "record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("record of agent %s: %w", agent, err)
	}
	rec, err := Decode(b)
	if err == nil && rec.Agent != agent {
		err = fmt.Errorf("%w: it is of agent %.64q", ErrCorrupt, rec.Agent)
	}
	if err == nil {
		return rec, nil
	}
	aside := l.path(agent, "record.json.corrupt")
	err = fmt.Errorf("record of agent %s, moved to %s: %w", agent, aside, err)
	return fresh, errors.Join(err, os.Rename(l.path(agent, "record.json"), aside))
}

// Save replaces an agent's record. It has happened when Save returns, even if
// the power fails then.
func (l *Ledger) Save(rec Record) error { return l.write(rec, true) }

// Write replaces an agent's record. If the power fails soon after, an earlier
// record may be found, or none.
func (l *Ledger) Write(rec Record) error { return l.write(rec, false) }

func (l *Ledger) write(rec Record, sync bool) error {
	rec.Version = recordVersion
	b, err := json.Marshal(rec)
	if err == nil {
		err = os.MkdirAll(l.path(rec.Agent, ""), 0o700)
	}
	if err == nil {
		err = replace(l.path(rec.Agent, "record.json"), b, sync)
	}
	if err != nil {
		return fmt.Errorf("save record of agent %s: %w", rec.Agent, err)
	}
	return nil
}

// Sync makes the last Write of an agent's record outlive a loss of power.
func (l *Ledger) Sync(agent string) error {
	if err := errors.Join(syncPath(l.path(agent, "record.json")), syncPath(l.path(agent, ""))); err != nil {
		return fmt.Errorf("sync record of agent %s: %w", agent, err)
	}
	return nil
}
