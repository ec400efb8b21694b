package contracts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func TestStreams(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		ctx := t.Context()
		js := natstest.JetStream(t, natstest.Start(t).Connect(t))
		o := contracts.StreamOptions{MaxTasks: 2}
		for _, cfg := range []jetstream.StreamConfig{contracts.EventStreamConfig(o), contracts.TaskStreamConfig(o), contracts.DeadStreamConfig(o)} {
			for range 2 { // a service that starts again finds its own stream unchanged
				if _, err := js.CreateOrUpdateStream(ctx, cfg); err != nil {
					t.Fatalf("%s: %v", cfg.Name, err)
				}
			}
		}
		if _, err := js.CreateOrUpdateKeyValue(ctx, contracts.StateBucketConfig(o)); err != nil {
			t.Fatal(err)
		}

		t.Log("the same event twice is stored once")
		event, err := contracts.NewEvent("test/t", contracts.AgentFailed, "worker-1", time.Now()).Build()
		if err != nil {
			t.Fatal(err)
		}
		body, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		first := publish(ctx, t, js, event.Subject(), body, jetstream.WithMsgID(event.ID))
		second := publish(ctx, t, js, event.Subject(), body, jetstream.WithMsgID(event.ID))
		if !second.Duplicate || first.Sequence != second.Sequence || first.Stream != contracts.EventStream {
			t.Errorf("first %+v, second %+v", first, second)
		}

		t.Log("a stale decision is refused")
		decided := contracts.EventSubject(contracts.TreeDecided, "main")
		fence := func(last uint64) error {
			_, err := js.Publish(ctx, decided, []byte("{}"), jetstream.WithExpectLastSequenceForSubject(last, contracts.TreeWildcard("main")))
			return err
		}
		if err := fence(0); err != nil {
			t.Fatal(err)
		}
		var refused *jetstream.APIError
		if err := fence(0); !errors.As(err, &refused) {
			t.Errorf("a second first decision: %v, want a refusal", err)
		}

		t.Log("a full queue refuses new tasks and keeps the old")
		publish(ctx, t, js, contracts.TaskSubject("a"), nil)
		publish(ctx, t, js, contracts.TaskSubject("b"), nil)
		if _, err := js.Publish(ctx, contracts.TaskSubject("c"), nil); !errors.As(err, &refused) {
			t.Errorf("third task of two: %v, want a refusal", err)
		}

		t.Log("too large an event is refused by the server too")
		if _, err := js.Publish(ctx, event.Subject(), make([]byte, contracts.MaxEventBytes+16<<10)); err == nil {
			t.Error("stored")
		}

		publish(ctx, t, js, contracts.DeadTaskSubject("a"), []byte(strings.Repeat("x", contracts.MaxTaskBytes)))
	})
}

func TestStreamOptionsReachTheStreams(t *testing.T) {
	o := contracts.StreamOptions{Replicas: 3, MaxAge: time.Hour, MaxBytes: 1 << 30}
	events := contracts.EventStreamConfig(o)
	if events.Replicas != 3 || events.MaxAge != time.Hour || events.MaxBytes != 1<<30 {
		t.Errorf("%+v", events)
	}
	for _, r := range []int{contracts.TaskStreamConfig(o).Replicas, contracts.DeadStreamConfig(o).Replicas, contracts.StateBucketConfig(o).Replicas} {
		if r != 3 {
			t.Errorf("replicas %d, want 3", r)
		}
	}
	if limit := int32(contracts.MaxEventBytes); events.MaxMsgSize <= limit {
		t.Errorf("the stream refuses events that are within the limit: %d <= %d", events.MaxMsgSize, limit)
	}
}

func publish(ctx context.Context, t *testing.T, js jetstream.JetStream, subject string, body []byte, opts ...jetstream.PublishOpt) *jetstream.PubAck {
	t.Helper()
	ack, err := js.Publish(ctx, subject, body, opts...)
	if err != nil {
		t.Fatalf("publish on %s: %v", subject, err)
	}
	return ack
}
