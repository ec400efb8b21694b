// Package lease says which of several supervisors decides about the tree: the one
// that holds the lease, a key of the state bucket that is only ever written by
// compare-and-set. The others watch it, and one of them takes it when it is
// released or has not been renewed for [TTL].
//
// The lease keeps supervisors from getting into each other's way; that never two
// decide is not its doing. Whoever holds it without knowing that it was lost,
// because its process was stopped or its network cut, is refused by the log.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const (
	// TTL is how long a lease lasts that is not renewed. It bounds a takeover,
	// so it is short; several renewals may fail within it.
	TTL = 1500 * time.Millisecond
	// renewEvery is how often the holder renews it, pollEvery how often the
	// others look.
	renewEvery = 300 * time.Millisecond
	pollEvery  = 200 * time.Millisecond
	// settle is what a replicated bucket is given to store a renewal whose answer
	// was not waited for; until then it refuses whatever else is written.
	settle = 20 * time.Millisecond
)

// Errors of leases.
var (
	// ErrLost tells that somebody else has taken the lease.
	ErrLost = errors.New("lease lost")
	// ErrOtherTree tells that the account has another tree.
	ErrOtherTree = errors.New("another tree has this NATS account")
)

// record is the value of the key.
type record struct {
	Tree   string `json:"tree"`
	Holder string `json:"holder"`
	// Session tells apart lives of the same holder.
	Session string `json:"session"`
	// Released tells that the holder needs it no more.
	Released bool `json:"released,omitempty"`
}

// Lease is the lease on an account's tree, as one supervisor sees it.
type Lease struct {
	env    shell.Env
	bucket jetstream.KeyValue
	tree   string
}

// Open waits for the bucket, which the event store creates.
func Open(ctx context.Context, env shell.Env, tree string) (*Lease, error) {
	bucket, err := shell.WaitBucket(ctx, env, contracts.StateBucket, contracts.ServiceEventStore)
	if err != nil {
		return nil, err
	}
	return &Lease{env: env, bucket: bucket, tree: tree}, nil
}

// Acquire waits until the lease is this supervisor's. Standing is called, once,
// when it is found that another lives and holds it. The error is that of ctx, or
// ErrOtherTree.
func (l *Lease) Acquire(ctx context.Context, standing func(holder string)) (*Term, error) {
	mine := record{Tree: l.tree, Holder: l.env.Instance, Session: uuid.NewString()}
	var holder expiry
	told := false
	for {
		if t := l.try(ctx, &holder, mine); t != nil {
			return t, nil
		}
		if holder.alive() && !told {
			told = true
			rec, _, err := l.read(ctx)
			if err == nil && rec.Tree != l.tree && rec.Tree != "" {
				return nil, fmt.Errorf("%w: supervisor %s decides about tree %s, and there is one tree to an account; give tree %s an account of its own (--context, --creds), or stop the other", ErrOtherTree, rec.Holder, rec.Tree, l.tree)
			}
			standing(rec.Holder)
		}
		if err := shell.Pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

// try takes the lease if it is free. Whatever cannot be read or written now is
// tried again.
func (l *Lease) try(ctx context.Context, holder *expiry, mine record) *Term {
	reconnects := l.env.NC.Stats().Reconnects
	rec, revision, err := l.read(ctx)
	now := time.Now()
	switch {
	case err != nil:
		return nil
	case revision == 0 || rec.Released || rec.Session == mine.Session:
	default:
		holder.observe(revision, reconnects, now)
		if !holder.expired(now) {
			return nil
		}
	}
	if revision, err = l.write(ctx, mine, revision); err != nil {
		return nil // somebody was faster, or it shows with the next try that it was stored
	}
	if rec.Holder != "" {
		l.env.Log.Info("lease taken", "tree", l.tree, "from", rec.Holder, "released", rec.Released)
	}
	return &Term{lease: l, rec: mine, revision: revision, until: now.Add(TTL), lost: make(chan struct{}), renewed: make(chan struct{})}
}

// read returns the lease and its revision, which is 0 when there is none. A lease
// that cannot be understood is somebody's until it runs out.
func (l *Lease) read(ctx context.Context) (record, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, TTL)
	defer cancel()
	entry, err := l.bucket.Get(ctx, contracts.SupervisorLeaseKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return record{}, 0, nil
	}
	if err != nil {
		return record{}, 0, err
	}
	rec, err := decode(entry.Value())
	if err != nil {
		l.env.Log.Debug("lease not readable", "tree", l.tree, "revision", entry.Revision(), "error", err)
	}
	return rec, entry.Revision(), nil
}

// decode reads a lease; with an error it names nobody.
func decode(value []byte) (rec record, err error) {
	if err := json.Unmarshal(value, &rec); err != nil {
		return record{}, err
	}
	return rec, nil
}

// write stores the lease if its revision is still that one.
func (l *Lease) write(ctx context.Context, rec record, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, TTL)
	defer cancel()
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return l.bucket.Create(ctx, contracts.SupervisorLeaseKey, value)
	}
	return l.bucket.Update(ctx, contracts.SupervisorLeaseKey, value, revision)
}

// refused tells that the key has, or is about to have, another revision than the
// writer thought.
func refused(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// Term is a time during which this supervisor has the lease.
type Term struct {
	lease *Lease
	rec   record

	// writing is held during a renewal.
	writing sync.Mutex

	mu       sync.Mutex
	revision uint64
	until    time.Time
	// renewed is closed and made anew with every renewal.
	renewed chan struct{}
	lost    chan struct{}
}

// Keep renews the lease until ctx ends or it is lost. While alive says no it is
// left to run out: whoever hangs shall not keep others from taking over.
func (t *Term) Keep(ctx context.Context, alive func() bool) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	hangs := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := !alive(); now != hangs {
			if hangs = now; hangs {
				t.lease.env.Log.Error("this supervisor hangs; its lease is left to run out", "tree", t.lease.tree)
			}
		}
		if hangs {
			continue
		}
		if errors.Is(t.renew(ctx), ErrLost) {
			return
		}
	}
}

// renew writes the lease anew. It is lost only when somebody else's is there.
func (t *Term) renew(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	select {
	case <-t.lost:
		return ErrLost
	default:
	}
	t.mu.Lock()
	revision := t.revision
	t.mu.Unlock()
	now := time.Now()
	next, err := t.lease.write(ctx, t.rec, revision)
	if refused(err) {
		next, err = t.again(ctx, t.rec)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.revision, t.until = next, now.Add(TTL)
		close(t.renewed)
		t.renewed = make(chan struct{})
	case errors.Is(err, ErrLost):
		close(t.lost)
	}
	return err
}

// again writes rec after a refusal: an earlier renewal may have been stored and
// its answer lost, the bucket may be a new one, or the lease is another's.
func (t *Term) again(ctx context.Context, rec record) (uint64, error) {
	found, revision, err := t.lease.read(ctx)
	switch {
	case err != nil:
		return 0, err
	case revision == 0 || found.Session == rec.Session:
		return t.lease.write(ctx, rec, revision)
	}
	return 0, fmt.Errorf("%w to supervisor %s", ErrLost, found.Holder)
}

// Lost is closed when somebody else has taken the lease.
func (t *Term) Lost() <-chan struct{} { return t.lost }

// Held reports whether nobody else can have the lease yet, as far as clocks of
// different hosts go at the same pace.
func (t *Term) Held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.until)
}

// Renewed is when the lease was last written.
func (t *Term) Renewed() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.until.Add(-TTL)
}

// Confirm waits until it is certain that the lease is held: at once in ordinary
// times, and after this process stood still until it has asked. The error is
// ErrLost or that of ctx.
func (t *Term) Confirm(ctx context.Context) error {
	for {
		t.mu.Lock()
		held, renewed := time.Now().Before(t.until), t.renewed
		t.mu.Unlock()
		select {
		case <-t.lost:
			return ErrLost
		default:
		}
		if held {
			return nil
		}
		select {
		case <-renewed:
		case <-t.lost:
			return ErrLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Prove makes sure that no other supervisor has had the lease in this term, up to now:
// it renews the lease, which takes a request, whatever the time. The error is ErrLost,
// or says that the lease could not be written.
func (t *Term) Prove(ctx context.Context) error { return t.renew(ctx) }

// Release gives the lease up, so that another need not wait for its end. Keep
// must have returned.
func (t *Term) Release(ctx context.Context) {
	select {
	case <-t.lost:
		return
	default:
	}
	rec := t.rec
	rec.Released = true
	_, err := t.lease.write(ctx, rec, t.revision)
	for refused(err) && shell.Pause(ctx, settle) == nil {
		_, err = t.again(ctx, rec)
	}
	if err != nil && !errors.Is(err, ErrLost) {
		t.lease.env.Log.Debug("lease not released; it runs out", "tree", t.lease.tree, "error", err)
	}
}
