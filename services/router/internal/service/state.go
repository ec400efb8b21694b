package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// head is the value of the router's key: who leads, and where its snapshot is.
// It is written by compare-and-set only; whoever fails to, no longer leads.
type head struct {
	Owner string `json:"owner,omitempty"` // the leading instance; empty when it has gone
	Epoch uint64 `json:"epoch"`           // grows with every change of the owner
	Beat  uint64 `json:"beat"`            // grows with every renewal
	// Cursor is the log's sequence up to which the snapshot has everything.
	Cursor uint64 `json:"cursor"`
	// The snapshot is gzipped JSON in Parts keys router.<Slot>.<n>, with the
	// SHA-256 Sum. Two slots take turns.
	Slot  int    `json:"slot"`
	Parts int    `json:"parts"`
	Sum   string `json:"sum,omitempty"`
	Open  int    `json:"open"`
}

// lease is the right to lead.
type lease struct {
	head     head
	revision uint64
}

const partBytes = 512 << 10

func ownerSubject(instance string) string {
	return contracts.ServiceSubject(contracts.ServiceRouter, "owner."+instance)
}

func partKey(slot, n int) string { return fmt.Sprintf("%s.%d.%d", contracts.RouterStateKey, slot, n) }

// acquire waits until this router may lead: nobody else does, or whoever did
// no longer listens, or has not renewed for the whole of a lease.
func (p *premises) acquire(ctx context.Context) (*lease, error) {
	var seen uint64
	var since time.Time
	told := false
	for {
		l, err := p.readHead(ctx)
		if err == nil {
			now := time.Now()
			if l.revision != seen {
				seen, since = l.revision, now
			}
			if p.vacant(ctx, l.head.Owner) || now.Sub(since) >= p.cfg.Lease {
				if err = p.takeOver(ctx, l); err == nil {
					return l, nil
				}
			} else if !told {
				told = true
				p.env.Ready()
				p.env.Log.Info("standing by: another router leads", "owner", l.head.Owner)
			}
		}
		if err != nil && ctx.Err() == nil {
			p.env.Log.Warn("router state not reachable; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (p *premises) readHead(ctx context.Context) (*lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	entry, err := p.state.Get(ctx, contracts.RouterStateKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return &lease{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", contracts.RouterStateKey, contracts.StateBucket, err)
	}
	l := &lease{revision: entry.Revision()}
	if l.head, err = decodeHead(entry.Value()); err != nil {
		p.env.Log.Warn("router state not understood; rebuilding it from the event log", "error", err)
	}
	return l, nil
}

// decodeHead reads the router's key; with an error it names nobody and no snapshot.
func decodeHead(value []byte) (h head, err error) {
	if err := json.Unmarshal(value, &h); err != nil {
		return head{}, err
	}
	if h.Slot != 0 && h.Slot != 1 || h.Parts < 0 {
		return head{}, fmt.Errorf("a snapshot of %d parts in slot %d; slots are 0 and 1", h.Parts, h.Slot)
	}
	return h, nil
}

// vacant tells whether the owner is nobody, or not listening any more, by the
// server's word. Our own name may be that of an earlier life, or be taken.
func (p *premises) vacant(ctx context.Context, owner string) bool {
	if owner == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := p.env.NC.RequestWithContext(ctx, ownerSubject(owner), nil)
	return errors.Is(err, nats.ErrNoResponders)
}

func (p *premises) takeOver(ctx context.Context, l *lease) error {
	l.head.Owner = p.env.Instance
	l.head.Epoch++
	return p.write(ctx, l)
}

// write stores the head, if nobody else has written it since.
func (p *premises) write(ctx context.Context, l *lease) error {
	l.head.Beat++
	body, err := json.Marshal(l.head)
	if err != nil {
		return err
	}
	revision, err := guard.Do(ctx, p.guards.state, "write", func(ctx context.Context) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		revision, err := p.state.Update(ctx, contracts.RouterStateKey, body, l.revision)
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return 0, guard.Permanent(fmt.Errorf("%w: %w", errSuperseded, err))
		}
		return revision, err
	})
	if err != nil {
		return fmt.Errorf("write %s in %s: %w", contracts.RouterStateKey, contracts.StateBucket, err)
	}
	l.revision = revision
	return nil
}

// errSnapshot tells that what is stored is no snapshot.
var errSnapshot = errors.New("snapshot not usable")

// restore makes the scheduler from the snapshot. One that is not usable is
// rebuilt from the log's beginning; one that cannot be read now is waited for.
func (r *router) restore(ctx context.Context) error {
	now := time.Now()
	snap, err := r.load(ctx)
	for err != nil && ctx.Err() == nil && !errors.Is(err, errSnapshot) {
		r.env.Log.Warn("the router's snapshot cannot be read yet", "error", err)
		if err := shell.Pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		snap, err = r.load(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.env.Log.Warn("the router's snapshot is unusable; rebuilding its state from the event log", "error", err)
		snap, r.lease.head.Cursor = scheduler.Snapshot{}, 0
	}
	r.sched = scheduler.Restore(r.cfg.Scheduling, snap, now)
	r.cursor = r.lease.head.Cursor
	return nil
}

func (r *router) load(ctx context.Context) (snap scheduler.Snapshot, err error) {
	h := r.lease.head
	if h.Parts == 0 {
		return snap, nil
	}
	var packed bytes.Buffer
	for n := range h.Parts {
		entry, err := guard.Do(ctx, r.guards.state, "read", func(ctx context.Context) (jetstream.KeyValueEntry, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			entry, err := r.state.Get(ctx, partKey(h.Slot, n))
			if errors.Is(err, jetstream.ErrKeyNotFound) {
				err = guard.Permanent(err)
			}
			return entry, err
		})
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return snap, fmt.Errorf("%w: %s: %w", errSnapshot, partKey(h.Slot, n), err)
		}
		if err != nil {
			return snap, fmt.Errorf("read %s: %w", partKey(h.Slot, n), err)
		}
		packed.Write(entry.Value())
	}
	if sum := sha256.Sum256(packed.Bytes()); hex.EncodeToString(sum[:]) != h.Sum {
		return snap, fmt.Errorf("%w: its parts are not those that were written together", errSnapshot)
	}
	if snap, err = unpack(packed.Bytes()); err != nil {
		return snap, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return snap, nil
}

// unpack reads a snapshot.
func unpack(packed []byte) (snap scheduler.Snapshot, err error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return snap, err
	}
	body, err := io.ReadAll(io.LimitReader(z, 1<<30))
	if err != nil {
		return snap, err
	}
	return snap, json.Unmarshal(body, &snap)
}

// holdLease answers those who ask whether the owner is still there, until the
// state has been handed over.
func (r *router) holdLease(down *shell.Teardown) error {
	sub, err := r.env.NC.Subscribe(ownerSubject(r.env.Instance), func(m *nats.Msg) {
		if shell.Answerable(m.Reply) {
			_ = m.Respond(nil) // whoever asks again will be answered then
		}
	})
	if err != nil {
		return fmt.Errorf("answer for the lease: %w", err)
	}
	down.Add("give up the lease", time.Second, func(context.Context) error { return quiet(sub) })
	return nil
}

// renew keeps the lease, and now and then the state.
func (r *router) renew() {
	last, kept := time.Now(), r.lease.head.Cursor
	r.every(r.cfg.Lease/5, func() {
		var err error
		if time.Since(last) >= r.cfg.SnapshotEvery {
			var snap scheduler.Snapshot
			cursor, ok := ask(r.ctx, r, func() uint64 {
				if r.cursor != kept {
					snap = r.sched.Snapshot()
				}
				return r.cursor
			})
			if ok == nil && cursor != kept {
				err = r.keep(r.ctx, snap, cursor)
				last, kept = time.Now(), cursor
			}
		}
		if err == nil {
			err = r.write(r.ctx, r.lease)
		}
		switch {
		case errors.Is(err, errSuperseded):
			r.fail(errSuperseded)
		case err != nil && r.ctx.Err() == nil:
			r.env.Log.Warn("router state not kept; trying again", "error", err)
		}
	})
}

func pack(snap scheduler.Snapshot) (*bytes.Buffer, error) {
	packed := new(bytes.Buffer)
	z := gzip.NewWriter(packed)
	return packed, errors.Join(json.NewEncoder(z).Encode(snap), z.Close())
}

// keep stores a snapshot in the slot that the head does not name; the head
// names it with the next write.
func (r *router) keep(ctx context.Context, snap scheduler.Snapshot, cursor uint64) error {
	packed, err := pack(snap)
	if err != nil {
		return fmt.Errorf("pack the snapshot: %w", err)
	}
	next := r.lease.head
	sum := sha256.Sum256(packed.Bytes())
	next.Sum, next.Slot, next.Parts, next.Cursor, next.Open = hex.EncodeToString(sum[:]), 1-next.Slot, 0, cursor, len(snap.Tasks)
	for packed.Len() > 0 {
		key, part := partKey(next.Slot, next.Parts), packed.Next(partBytes)
		err := r.guards.state.Run(ctx, "write", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			_, err := r.state.Put(ctx, key, part)
			return err
		})
		if err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
		next.Parts++
	}
	r.lease.head = next
	return nil
}

// handOver keeps the state, gives up the lease and gives back the messages;
// after everything else has ended but the loop.
func (r *router) handOver(ctx context.Context) error {
	type final struct {
		snap   scheduler.Snapshot
		cursor uint64
	}
	f, err := ask(ctx, r, func() final { return final{r.sched.Snapshot(), r.cursor} })
	if err == nil && !errors.Is(context.Cause(r.ctx), errSuperseded) {
		if err = r.keep(ctx, f.snap, f.cursor); err == nil {
			r.lease.head.Owner = ""
			err = r.write(ctx, r.lease)
		}
	}
	if errors.Is(err, errSuperseded) {
		err = nil // the successor goes by the log
	}
	_, asked := ask(ctx, r, func() struct{} { r.giveBack(); return struct{}{} })
	return errors.Join(err, asked)
}
