package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is a message that is followed, and how many are stored behind it.
type Delivery struct {
	Record
	Pending uint64
}

// errReconnected ends a Feed: its consumer may have died with the server.
var errReconnected = errors.New("the connection to the NATS server was interrupted")

// Feed gives all messages from a sequence on, in order and without a gap, until
// something interrupts it. Then Broken says what, and a new one must be begun
// where this one ended: only the caller knows whether the stream is then still
// the same. (An ordered consumer goes on by itself, and does not let go while
// the server is away.)
type Feed struct {
	Messages <-chan Delivery
	Broken   <-chan error
	stop     func()
}

// Stop ends the feed.
func (f *Feed) Stop() { f.stop() }

const (
	feedBuffer = 512
	// feedHeartbeat is how often the server says that it is there when there is
	// nothing to give; twice that without a word breaks the feed.
	feedHeartbeat = 5 * time.Second
)

// Follow begins a feed.
func (l *Log) Follow(ctx context.Context, from uint64) (*Feed, error) {
	cons, err := l.consumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return nil, err
	}
	out, broken, gone := make(chan Delivery, feedBuffer), make(chan error, 1), make(chan struct{})
	fail := func(err error) {
		select {
		case broken <- fmt.Errorf("stream %s: %w", l.name(), err):
		default: // the first error counts
		}
	}
	next := uint64(1)
	cc, err := cons.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			fail(err)
			return
		}
		if meta.Sequence.Consumer != next {
			fail(fmt.Errorf("%w before sequence %d", errBroken, meta.Sequence.Stream))
			return
		}
		next++
		r := Record{Sequence: meta.Sequence.Stream, Subject: m.Subject(), Time: meta.Timestamp, Data: m.Data()}
		select {
		case out <- Delivery{r, meta.NumPending}:
		case <-gone:
		}
	}, jetstream.PullExpiry(6*feedHeartbeat), jetstream.PullHeartbeat(feedHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { fail(err) }))
	if err != nil {
		l.discard(cons)
		return nil, fmt.Errorf("stream %s: follow: %w", l.name(), err)
	}
	nc := l.js.Conn()
	status := nc.StatusChanged(nats.RECONNECTING, nats.CONNECTED, nats.CLOSED)
	go func() {
		select {
		case <-status:
			fail(errReconnected)
		case <-gone:
		}
		nc.RemoveStatusListener(status)
	}()
	return &Feed{Messages: out, Broken: broken, stop: func() {
		close(gone)
		cc.Stop()
		l.discard(cons)
	}}, nil
}
