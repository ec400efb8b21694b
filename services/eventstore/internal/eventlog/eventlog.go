// Package eventlog reads the event stream: single messages by sequence, and
// ranges through short-lived consumers. What it reads it gives as stored;
// whether it is an event is not its matter.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/mistersmith/mistersmith/internal/guard"
)

// ErrGone tells that a sequence is not in the stream: not yet, or no longer.
var ErrGone = errors.New("not in the stream")

// ErrDisconnected tells that there is no connection to the server now.
var ErrDisconnected = errors.New("not connected to the NATS server")

// ErrNoStream tells that the stream does not exist.
var ErrNoStream = jetstream.ErrStreamNotFound

// askTimeout bounds one try of a request, unless the guard's is nearer: a
// request that was under way when its server died gets no answer.
const askTimeout = 5 * time.Second

// ask makes a request through the guard. While there is no connection none is
// made, so that an outage which the client sees itself opens no breaker.
func ask[T any](ctx context.Context, l *Log, op string, request func(context.Context) (T, error)) (T, error) {
	if !l.js.Conn().IsConnected() {
		var none T
		return none, ErrDisconnected
	}
	return guard.Do(ctx, l.guard, op, func(ctx context.Context) (T, error) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return request(ctx)
	})
}

// Record is a stored message.
type Record struct {
	Sequence uint64
	Subject  string
	// Time is when it was stored, by the server's clock.
	Time time.Time
	Data []byte
}

// State is what the stream holds at an instant.
type State struct {
	// Created tells apart two streams of one name.
	Created     time.Time
	First, Last uint64
	Messages    uint64
	Bytes       uint64
	FirstTime   time.Time
	LastTime    time.Time
}

// Log reads one stream. It is safe for use by many goroutines.
type Log struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	guard  *guard.Guard
}

// New gives the Log of a stream. Its requests go through g.
func New(js jetstream.JetStream, stream jetstream.Stream, g *guard.Guard) *Log {
	return &Log{js: js, stream: stream, guard: g}
}

// State asks the stream's leader how it stands.
func (l *Log) State(ctx context.Context) (State, error) {
	return ask(ctx, l, "state", func(ctx context.Context) (State, error) {
		// A handle of its own: Info changes the handle it is called on.
		s, err := l.js.Stream(ctx, l.name())
		if errors.Is(err, ErrNoStream) {
			return State{}, guard.Permanent(fmt.Errorf("stream %s: %w", l.name(), err))
		}
		if err != nil {
			return State{}, fmt.Errorf("stream %s: %w", l.name(), err)
		}
		info := s.CachedInfo()
		return State{
			Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq,
			Messages: info.State.Msgs, Bytes: info.State.Bytes,
			FirstTime: info.State.FirstTime, LastTime: info.State.LastTime,
		}, nil
	})
}

func (l *Log) name() string { return l.stream.CachedInfo().Config.Name }

// Connected gives a channel that gets a word when the connection to the server
// is made again, and a function that ends that.
func (l *Log) Connected() (<-chan nats.Status, func()) {
	nc := l.js.Conn()
	status := nc.StatusChanged(nats.CONNECTED)
	return status, func() { nc.RemoveStatusListener(status) }
}

// Get gives the message of a sequence, or ErrGone.
func (l *Log) Get(ctx context.Context, seq uint64) (Record, error) {
	r, err := l.direct(ctx, "get", func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetMsg(ctx, seq)
	})
	if !errors.Is(err, ErrGone) {
		return r, err
	}
	// A replica may have answered that lags. A consumer asks the leader.
	var found *Record
	_, err = l.Scan(ctx, Range{From: seq, To: seq}, func(r Record) (bool, error) {
		found = &r
		return false, nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("sequence %d: %w", seq, ErrGone)
	}
	if err != nil {
		return Record{}, err
	}
	return *found, nil
}

// Last gives the last message on a subject, or ErrGone.
func (l *Log) Last(ctx context.Context, subject string) (Record, error) {
	return l.direct(ctx, "last", func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return l.stream.GetLastMsgForSubject(ctx, subject)
	})
}

func (l *Log) direct(ctx context.Context, op string, get func(context.Context) (*jetstream.RawStreamMsg, error)) (Record, error) {
	return ask(ctx, l, op, func(ctx context.Context) (Record, error) {
		m, err := get(ctx)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return Record{}, guard.Permanent(ErrGone)
		}
		if err != nil {
			return Record{}, err
		}
		return Record{Sequence: m.Sequence, Subject: m.Subject, Time: m.Time, Data: m.Data}, nil
	})
}

// parallelGets bounds the requests that GetMany has under way.
const parallelGets = 8

// GetMany gives the messages of several sequences, in the same order. Those
// that are gone are left out.
func (l *Log) GetMany(ctx context.Context, seqs []uint64) ([]Record, error) {
	records := make([]Record, len(seqs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for i, seq := range seqs {
		g.Go(func() error {
			r, err := l.Get(ctx, seq)
			if errors.Is(err, ErrGone) {
				return nil
			}
			records[i] = r
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	kept := records[:0]
	for _, r := range records {
		if r.Sequence != 0 {
			kept = append(kept, r)
		}
	}
	return kept, nil
}
