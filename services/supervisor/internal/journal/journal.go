// Package journal keeps a tree's state in the event log. Every decision is one
// message (or, when large, several that count together) on the tree's subjects;
// the fold of their changes is the tree. Appending is fenced: a supervisor that
// has missed a decision of another is refused.
package journal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/storage"
)

// ErrSuperseded tells that another supervisor has decided about the tree since
// this one last read it.
var ErrSuperseded = errors.New("superseded: another supervisor decides about this tree")

// Journal is one tree's part of the log. It is not safe for concurrent use.
type Journal struct {
	env    shell.Env
	tree   string
	stream jetstream.Stream
	bucket bucket
	guard  *guard.Guard
	// Rejects takes what is on the tree's subjects and is no decision; nil only
	// logs it.
	Rejects *shell.Rejects
	// Watch learns what cannot be stored or read.
	Watch *storage.Watch

	// Prove makes sure that no other supervisor has had the lease since this one has;
	// the error is ErrSuperseded if one has. Nil is for a log that nobody contends for.
	Prove func(ctx context.Context) error

	// number is that of the last decision, last its place in the stream.
	number, last uint64
	// lastID is the id of the message at last, empty if not known, and assured how
	// often the connection had been made again when the log was found to have it.
	lastID  string
	assured uint64
	// followed is the last message that Follow has read, or had read before the
	// connection was lost, until the log was found to have it.
	followed atomic.Pointer[place]
	// saved is the decision that the stored snapshot holds.
	saved uint64
	// bodies is the memory of the message that is being stored and of the one that
	// is encoded meanwhile: large ones, in a storm one after the other.
	bodies [2][]byte
}

// place is where a message is in the log, with its id, and how often the connection had
// been made again until then.
type place struct {
	sequence   uint64
	id         string
	reconnects uint64
}

// Guards protect the calls to the log and to the bucket of snapshots. Whoever
// only reads the past needs none for the log.
type Guards struct{ Log, State *guard.Guard }

// Open waits for the log and the bucket of snapshots, which the event store
// creates.
func Open(ctx context.Context, env shell.Env, treeName string, g Guards) (*Journal, error) {
	stream, err := shell.WaitStream(ctx, env, contracts.EventStream, contracts.ServiceEventStore)
	if err != nil {
		return nil, err
	}
	kv, err := shell.WaitBucket(ctx, env, contracts.StateBucket, contracts.ServiceEventStore)
	if err != nil {
		return nil, err
	}
	return &Journal{env: env, tree: treeName, stream: stream, bucket: bucket{kv, g.State}, guard: g.Log, Watch: &storage.Watch{}}, nil
}

// Number is that of the last decision, Sequence its place in the stream.
func (j *Journal) Number() uint64   { return j.number }
func (j *Journal) Sequence() uint64 { return j.last }

// Fence is for what the supervisor stores in addition to its decisions.
func (j *Journal) Fence() *Fence { return NewFence(j.stream, j.tree, j.Prove) }

// Append stores a decision. It tries until it succeeds, ctx ends, or it gets
// ErrSuperseded.
func (j *Journal) Append(ctx context.Context, d *decisionlog.Decision) error {
	parts, err := decisionlog.Split(d)
	if err != nil {
		return fmt.Errorf("decision %d of tree %s: %w", d.Number, j.tree, err)
	}
	a := leader.NewAppend(d.ID, len(parts), j.last)
	next := j.message(d, parts, 0)
	for i := range parts {
		this, ahead := next, make(chan message, 1)
		if i+1 < len(parts) {
			// A storm's decisions are large: each part is encoded while the one
			// before is being stored.
			go func() { ahead <- j.message(d, parts, i+1) }()
		}
		err := this.err
		if err == nil {
			err = j.store(ctx, a, i, this)
		}
		if i+1 < len(parts) {
			next = <-ahead
		}
		j.last = a.Last()
		if id := a.LastID(); id != "" {
			j.lastID = id
		}
		if err != nil {
			return fmt.Errorf("decision %d of tree %s: %w", d.Number, j.tree, err)
		}
	}
	j.number = d.Number
	return nil
}

// message is one message of a decision, or why there is none.
type message struct {
	event contracts.Event
	body  []byte
	err   error
}

// message encodes one part of a decision. What it returns is good until the part
// after the next is encoded.
func (j *Journal) message(d *decisionlog.Decision, parts []decisionlog.Part, i int) (m message) {
	memory := &j.bodies[i%len(j.bodies)]
	m.event, m.body, m.err = contracts.NewEvent(j.env.Source(), d.Type, j.tree, d.At.Time()).ID(leader.PartID(d.ID, i)).
		Causation(d.Cause).Correlation(d.Chain).EncodeTo(*memory, parts[i].Append)
	if m.err == nil {
		*memory = m.body
	}
	return m
}

// store publishes one message of a decision until it is in the stream.
func (j *Journal) store(ctx context.Context, a *leader.Append, part int, m message) error {
	const first, most = 10 * time.Millisecond, time.Second
	j.Watch.Begin(storage.Append, time.Now())
	defer j.Watch.Done(storage.Append)
	for wait := first; ; wait = min(2*wait, most) {
		next, more := a.Next()
		if !more || next.Part != part {
			return nil
		}
		if err := j.assure(ctx); err != nil {
			return err
		}
		seq, err := guard.Do(ctx, j.guard, "append", func(ctx context.Context) (uint64, error) {
			options, err := j.options(ctx, next)
			if err != nil {
				return 0, err
			}
			seq, err := shell.PublishEncoded(ctx, j.env.JS, m.event, m.body, options...)
			if Refused(err) {
				return 0, guard.Permanent(err)
			}
			return seq, err
		})
		switch {
		case errors.Is(err, ErrSuperseded):
			return err
		case err == nil:
			a.Stored(seq)
			return nil
		case Refused(err):
			if err := j.refused(ctx, a); err != nil {
				return err
			}
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !guard.Rejected(err) { // that follows from earlier failures
			j.Watch.Failed(storage.Append, err)
		}
		j.env.Log.Warn("decision not stored yet", "tree", j.tree, "event", m.event.ID, "error", err)
		if err := shell.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// options say on which conditions the log takes a message.
func (j *Journal) options(ctx context.Context, m leader.Message) ([]jetstream.PublishOpt, error) {
	if m.Follow > 0 {
		return j.Fence().Follow(m.Follow), nil
	}
	options, err := j.Fence().Alone(ctx, 0)
	if errors.Is(err, ErrSuperseded) {
		err = guard.Permanent(err)
	}
	return options, err
}

// refused finds out what a refusal means: it is ErrSuperseded, or the append
// continues.
func (j *Journal) refused(ctx context.Context, a *leader.Append) error {
	last, err := j.lastMessage(ctx)
	if err != nil {
		return err
	}
	log, err := j.state(ctx)
	if err != nil {
		return err
	}
	var seq uint64
	id := ""
	if last != nil {
		seq, id = last.Sequence, last.Header.Get(jetstream.MsgIDHeader)
	}
	if a.Refused(seq, id, log.FirstSeq) == leader.Superseded {
		return ErrSuperseded
	}
	return nil
}

// First is the place of the log's first message, or of the next one if it has none.
func (j *Journal) First(ctx context.Context) (uint64, error) {
	log, err := j.state(ctx)
	return log.FirstSeq, err
}

// connected waits until there is a connection: without one a try would only
// make the breaker open, and keep it open when the connection is back.
func (j *Journal) connected(ctx context.Context) error {
	for !j.env.NC.IsConnected() {
		if err := shell.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// Current reports whether nobody else has decided since the last Append or Load,
// and the log still has all evidence up to the cursor: one that has lost its tail
// will give places in it to other events.
func (j *Journal) Current(ctx context.Context, cursor uint64) (bool, error) {
	switch err := j.assure(ctx); {
	case errors.Is(err, ErrSuperseded):
		return false, nil
	case err != nil:
		return false, err
	}
	last, err := j.lastMessage(ctx)
	if err != nil || last != nil && last.Sequence > j.last {
		return false, err
	}
	log, err := j.state(ctx)
	if err != nil || log.LastSeq < max(j.last, cursor) || last == nil && !j.outlived(log) {
		return false, err
	}
	if last == nil && j.Prove != nil {
		// The log has forgotten the tree's last message, and perhaps another's. What
		// cannot be proven now is asked again.
		return !errors.Is(j.Prove(ctx), ErrSuperseded), nil
	}
	return true, nil
}

// Refused tells whether the log has moved on; a replicated stream says so with
// a code of its own.
func Refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// lastMessage returns the tree's last message, nil when there is none.
func (j *Journal) lastMessage(ctx context.Context) (*jetstream.RawStreamMsg, error) {
	return j.readMessage(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return j.stream.GetLastMsgForSubject(ctx, contracts.TreeWildcard(j.tree))
	})
}

// readMessage returns a message of the log, nil when it has none. It tries until it knows.
func (j *Journal) readMessage(ctx context.Context, get func(context.Context) (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
	j.Watch.Begin(storage.Read, time.Now())
	defer j.Watch.Done(storage.Read)
	for {
		if err := j.connected(ctx); err != nil {
			return nil, err
		}
		msg, err := guarded(ctx, j.guard, "last", get)
		switch {
		case err == nil:
			return msg, nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !guard.Rejected(err):
			j.Watch.Failed(storage.Read, err)
			j.env.Log.Warn("log not readable yet", "tree", j.tree, "error", err)
		}
		if err := shell.Pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
