package watch

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// TestOrdersAreGuarded: a bucket that does not answer is left alone after some
// failures, each order is refused for as long, and what is published is not.
func TestOrdersAreGuarded(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		natstest.Streams(t, natstest.JetStream(t, nc))
		env, err := shell.NewEnv(t.Context(), "detector", "d", nc, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), shell.NewHealth())
		if err != nil {
			t.Fatal(err)
		}
		bucket := s.Mutable(t, nc)
		state, store := shell.NewGuard(env, nil, "state_store"), shell.NewGuard(env, nil, "event_stream")
		env.JS = bucket
		w, err := New(env, Config{}, store, state)
		if err != nil {
			t.Fatal(err)
		}
		monitor := func() error {
			_, err := w.monitor(t.Context(), contracts.MonitorRequest{Agent: "a"})
			return err
		}
		if err := monitor(); err != nil {
			t.Fatal(err)
		}
		bucket.Silence(true)
		before := bucket.Asked()
		for range 10 {
			var told *shell.APIError
			if err := monitor(); !errors.As(err, &told) || told.Code != contracts.CodeNotReady {
				t.Errorf("the bucket is silent, and that gives %v", err)
			}
		}
		if asked := bucket.Asked() - before; asked != 5 || state.State() != guard.Open {
			t.Errorf("ten orders asked %d times and left the breaker %s", asked, state.State())
		}
		if store.State() != guard.Closed {
			t.Errorf("the breaker of publishing is %s", store.State())
		}
		bucket.Silence(false)
		<-time.After(30 * time.Second)
		if err := monitor(); err != nil {
			t.Errorf("the bucket answers, and that gives %v", err)
		}
	})
}

// TestRemedyOfTheMute: an agent that never beats may be a program that does not
// know how to; one that its runner beats for is not.
func TestRemedyOfTheMute(t *testing.T) {
	const remedy = "heartbeats: runner"
	now := time.Now()
	fd := fleet.Finding{Kind: fleet.Failed, Reason: fleet.NoFirstHeartbeat}
	if text := detail(now, fd); !strings.Contains(text, remedy) {
		t.Error(text)
	}
	fd.OfRunner = true
	if text := detail(now, fd); strings.Contains(text, remedy) {
		t.Error(text)
	}
}
