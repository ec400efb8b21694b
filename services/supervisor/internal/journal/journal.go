// Package journal keeps a tree's state in the event log. Every decision is one
// message (or, when large, several that count together) on the tree's subjects;
// the fold of their changes is the tree. Appending is fenced: a supervisor that
// has missed a decision of another is refused.
package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
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

	// number is that of the last decision, last its place in the stream.
	number, last uint64
	// saved is the decision that the stored snapshot holds.
	saved uint64
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
	return &Journal{env: env, tree: treeName, stream: stream, bucket: bucket{kv, g.State}, guard: g.Log}, nil
}

// Decision is what is appended: the event it becomes has the given id.
type Decision struct {
	ID   string
	Type contracts.EventType
	// Cause and Chain are the event's causation and correlation.
	Cause, Chain string
	At           time.Time
	Cursor       uint64
	Inputs       []contracts.DecisionInput
	Effects      []contracts.DecisionEffect
	Changes      []tree.Change
}

// Number is that of the last decision, Sequence its place in the stream.
func (j *Journal) Number() uint64   { return j.number }
func (j *Journal) Sequence() uint64 { return j.last }

// Append stores a decision. It tries until it succeeds, ctx ends, or it gets
// ErrSuperseded.
func (j *Journal) Append(ctx context.Context, d Decision) error {
	parts, err := split(d)
	if err != nil {
		return err
	}
	number := j.number + 1
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
			err = j.store(ctx, this.event, this.body)
		}
		if i+1 < len(parts) {
			next = <-ahead
		}
		if err != nil {
			return fmt.Errorf("decision %d of tree %s: %w", number, j.tree, err)
		}
	}
	j.number = number
	return nil
}

// message is one message of a decision, or why there is none.
type message struct {
	event contracts.Event
	body  []byte
	err   error
}

// message encodes one part of the next decision.
func (j *Journal) message(d Decision, parts []part, i int) (m message) {
	p := &parts[i]
	p.Tree, p.Supervisor = j.tree, j.env.Instance
	p.Number, p.Cursor = j.number+1, d.Cursor
	p.More = i < len(parts)-1
	id := d.ID
	if i > 0 {
		id = partID(d.ID, i)
	}
	data, err := p.encode()
	if err != nil {
		return message{err: err}
	}
	m.event, m.body, m.err = contracts.NewEvent(j.env.Source(), d.Type, j.tree, d.At).ID(id).
		Causation(d.Cause).Correlation(d.Chain).JSON(data).Encode()
	return m
}

// partID is the id of a decision's further messages.
func partID(first string, i int) string { return contracts.DerivedID(first, strconv.Itoa(i)) }

// store publishes one message until it is in the stream.
func (j *Journal) store(ctx context.Context, ev contracts.Event, body []byte) error {
	const first, most = 10 * time.Millisecond, time.Second
	for wait := first; ; wait = min(2*wait, most) {
		if err := j.connected(ctx); err != nil {
			return err
		}
		seq, err := guard.Do(ctx, j.guard, "append", func(ctx context.Context) (uint64, error) {
			seq, err := shell.PublishEncoded(ctx, j.env.JS, ev, body,
				jetstream.WithExpectLastSequenceForSubject(j.last, contracts.TreeWildcard(j.tree)),
				jetstream.WithRetryAttempts(0))
			if Refused(err) {
				return 0, guard.Permanent(err)
			}
			return seq, err
		})
		switch {
		case err == nil:
			j.last = seq
			return nil
		case Refused(err):
			if again, err := j.settle(ctx, ev); !again {
				return err
			}
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		j.env.Log.Warn("decision not stored yet", "tree", j.tree, "event", ev.ID, "error", err)
		if err := shell.Pause(ctx, wait); err != nil {
			return err
		}
	}
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

// settle finds out what a refusal means: that an earlier try of the same
// message was stored and its answer lost, that the log has outlived the tree's
// last message and the message is to be stored again as if it were the first,
// or that somebody else has decided.
func (j *Journal) settle(ctx context.Context, ev contracts.Event) (again bool, err error) {
	last, err := j.lastMessage(ctx)
	switch {
	case err != nil:
		return false, err
	case last == nil && j.last > 0:
		j.last = 0
		return true, nil
	case last != nil && last.Header.Get(jetstream.MsgIDHeader) == ev.ID:
		j.last = last.Sequence
		return false, nil
	}
	return false, ErrSuperseded
}

// Current tells whether nobody else has decided since the last Append or Load.
func (j *Journal) Current(ctx context.Context) (bool, error) {
	last, err := j.lastMessage(ctx)
	return err == nil && (last == nil || last.Sequence <= j.last), err
}

// Refused tells whether the log has moved on; a replicated stream says so with
// a code of its own.
func Refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// lastMessage gives the tree's last message, nil when there is none. It tries
// until it knows.
func (j *Journal) lastMessage(ctx context.Context) (*jetstream.RawStreamMsg, error) {
	for {
		if err := j.connected(ctx); err != nil {
			return nil, err
		}
		msg, err := guarded(ctx, j.guard, "last", func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return j.stream.GetLastMsgForSubject(ctx, contracts.TreeWildcard(j.tree))
		})
		switch {
		case err == nil:
			return msg, nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !guard.Rejected(err):
			j.env.Log.Warn("log not readable yet", "tree", j.tree, "error", err)
		}
		if err := shell.Pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
