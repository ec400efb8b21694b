package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// streams are what the service owns.
type streams struct {
	events, dead jetstream.Stream
}

// ensureStreams creates the streams and the bucket, or brings them to their
// definition. A server that is away or electing is tried again until ctx ends;
// one that refuses is an error.
func ensureStreams(ctx context.Context, env shell.Env, o contracts.StreamOptions) (streams, error) {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	for wait := first; ; wait = min(2*wait, most) {
		s, err := tryStreams(ctx, env.JS, o)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return s, fmt.Errorf("%w (%w)", err, ctx.Err())
		}
		if refused(err) {
			return s, err
		}
		env.Health.Awaits(env.Service, err.Error())
		env.Log.Warn("the event streams cannot be made yet", "error", err, "again_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func tryStreams(ctx context.Context, js jetstream.JetStream, o contracts.StreamOptions) (s streams, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if s.events, err = js.CreateOrUpdateStream(ctx, contracts.EventStreamConfig(o)); err != nil {
		return s, streamError(contracts.EventStream, o, err)
	}
	if s.dead, err = js.CreateOrUpdateStream(ctx, contracts.DeadStreamConfig(o)); err != nil {
		return s, streamError(contracts.DeadStream, o, err)
	}
	if _, err = js.CreateOrUpdateKeyValue(ctx, contracts.StateBucketConfig(o)); err != nil {
		return s, streamError("bucket "+contracts.StateBucket, o, err)
	}
	return s, nil
}

func streamError(name string, o contracts.StreamOptions, err error) error {
	hint := "check the NATS server's storage limits and the event_store settings"
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == codeNoStorage:
		hint = noStorage(o)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		hint = "the NATS server needs JetStream (nats-server -js)"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "is the NATS server up, and may this user manage streams?"
	}
	return fmt.Errorf("create stream %s: %w; %s", name, err, hint)
}

// noStorage says how much storage the streams need. What a stream may have at most is
// set aside for it, and a server that is not told otherwise takes three quarters of the
// room that its disk had when it started.
func noStorage(o contracts.StreamOptions) string {
	reserved := contracts.DeadStreamConfig(o).MaxBytes + max(0, contracts.EventStreamConfig(o).MaxBytes)
	of := contracts.DeadStream
	if o.MaxBytes > 0 {
		of += " and event_store.max_bytes"
	}
	const mib = 1 << 20
	return fmt.Sprintf("%d MiB are set aside (%s), and a NATS server without max_file_store takes three quarters of the free disk: it needs %d MiB free, and more to work with",
		reserved/mib, of, (reserved*4/3+mib-1)/mib)
}

// Codes of the server's refusals that need a look of their own.
const (
	codeNoPeers     = 10005 // enough servers may yet join the cluster
	codeNoStorage   = 10047 // the disk may yet have room
	codeNoReplicas  = 10074 // no cluster, so no replicas
	firstServerSide = 500   // a passing state, such as an election
)

// refused tells whether the server has answered, and will answer the same
// again.
func refused(err error) bool {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return true
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode == codeNoPeers {
		return false
	}
	return api.ErrorCode == codeNoReplicas || api.Code >= 400 && api.Code < firstServerSide && api.Code != 408
}
