package eventstore_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

// TestTooSmallStorage: a store that waits for room says how much it takes, and goes on
// waiting.
func TestTooSmallStorage(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		nc := natstest.Start(t, func(o *server.Options) { o.JetStreamMaxStore = 150 << 20 }).Connect(t)
		health := shell.NewHealth(contracts.ServiceEventStore)
		ctx, cancel := context.WithCancel(t.Context())
		env, err := shell.NewEnv(ctx, contracts.ServiceEventStore, "es", nc, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), health)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- eventstore.Run(ctx, env, eventstore.Config{}) }()
		<-time.After(20 * time.Second)
		why := health.Why(contracts.ServiceEventStore)
		for _, part := range []string{"insufficient storage", "256 MiB are set aside (SMITH_DEAD)", "342 MiB free"} {
			if !strings.Contains(why, part) {
				t.Errorf("it waits for %q, without %q", why, part)
			}
		}
		if ready, _ := health.IsReady(contracts.ServiceEventStore); ready {
			t.Error("it is ready")
		}
		cancel()
		if err := <-ended; err == nil {
			t.Error("it ended without saying that it never had its streams")
		}
	})
}
