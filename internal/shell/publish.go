package shell

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// EventMessage is the message that carries an event.
func EventMessage(ev contracts.Event) (*nats.Msg, error) {
	if err := ev.Validate(); err != nil {
		return nil, err
	}
	body, err := ev.Encode()
	if err != nil {
		return nil, err
	}
	return encoded(ev, body), nil
}

func encoded(ev contracts.Event, body []byte) *nats.Msg {
	msg := nats.NewMsg(ev.Subject())
	msg.Data = body
	msg.Header.Set("Content-Type", contracts.ContentType)
	msg.Header.Set(jetstream.MsgIDHeader, ev.ID)
	return msg
}

// PublishEvent stores an event and gives its sequence. The same event again
// within contracts.DedupWindow gives the same sequence and is stored once.
func PublishEvent(ctx context.Context, js jetstream.JetStream, ev contracts.Event, opts ...jetstream.PublishOpt) (uint64, error) {
	msg, err := EventMessage(ev)
	if err != nil {
		return 0, err
	}
	return publish(ctx, js, ev, msg, opts)
}

// PublishEncoded is [PublishEvent] for an event whose JSON is there already, as
// contracts.EventBuilder.Encode gives it.
func PublishEncoded(ctx context.Context, js jetstream.JetStream, ev contracts.Event, body []byte, opts ...jetstream.PublishOpt) (uint64, error) {
	return publish(ctx, js, ev, encoded(ev, body), opts)
}

func publish(ctx context.Context, js jetstream.JetStream, ev contracts.Event, msg *nats.Msg, opts []jetstream.PublishOpt) (uint64, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publishTimeout)
		defer cancel()
	}
	ack, err := js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return 0, fmt.Errorf("store event %s on %s: %w", ev.ID, msg.Subject, err)
	}
	return ack.Sequence, nil
}

const publishTimeout = 5 * time.Second

// WaitStream waits until a stream that another service owns exists.
func WaitStream(ctx context.Context, env Env, name, owner string) (jetstream.Stream, error) {
	return waitFor(ctx, env, "stream", name, owner, func(ctx context.Context) (jetstream.Stream, error) {
		return env.JS.Stream(ctx, name)
	})
}

// WaitBucket waits until a key-value bucket that another service owns exists.
func WaitBucket(ctx context.Context, env Env, name, owner string) (jetstream.KeyValue, error) {
	return waitFor(ctx, env, "bucket", name, owner, func(ctx context.Context) (jetstream.KeyValue, error) {
		return env.JS.KeyValue(ctx, name)
	})
}

func waitFor[T any](ctx context.Context, env Env, kind, name, owner string, get func(context.Context) (T, error)) (T, error) {
	const first, most = 100 * time.Millisecond, 2 * time.Second
	wait, begin := first, time.Now()
	warned := false
	for {
		try, cancel := context.WithTimeout(ctx, publishTimeout)
		v, err := get(try)
		cancel()
		if err == nil {
			return v, nil
		}
		if ctx.Err() != nil {
			return v, fmt.Errorf("wait for %s %s: %w", kind, name, ctx.Err())
		}
		if notEnabled(err) {
			return v, fmt.Errorf("%s %s: %w; the NATS server needs JetStream (nats-server -js)", kind, name, err)
		}
		if !warned && time.Since(begin) > most {
			warned = true
			env.Log.Warn("waiting for a "+kind+"; is the service that creates it running?", kind, name, "service", owner, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, most)
	}
}

func notEnabled(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}
