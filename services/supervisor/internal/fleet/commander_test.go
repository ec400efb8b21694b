package fleet

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestStartDoesNotWaitForTheAnswerToAStop: the runner died with the answer, and
// that the old incarnation ended is known from its exit.
func TestStartDoesNotWaitForTheAnswerToAStop(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		asked := make(chan string, 16)
		answer := func(verb string, reply bool) {
			_, err := nc.Subscribe(contracts.RunnerSubject("r", verb), func(m *nats.Msg) {
				asked <- verb
				if reply {
					body, _ := json.Marshal(contracts.RunnerReply{Code: contracts.RunnerOK, Agent: "a", Incarnation: 2, PID: 7})
					_ = m.Respond(body)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		answer("stop", false)
		answer("start", true)
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		env, err := shell.NewEnv(t.Context(), "supervisor", "s1", s.Connect(t), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), shell.NewHealth())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan tree.Input, 16)
		c := NewCommander(ctx, env, config.Default(), nil, func(in tree.Input) { results <- in })
		defer c.Wait()
		defer cancel()
		spec := &tree.Spec{ID: "a", Agent: &tree.Agent{Start: json.RawMessage(`{"command":["x"]}`)}}
		order := func(kind tree.EffectKind, incarnation uint64) {
			c.Do(Command{Effect: tree.Effect{Kind: kind, Node: "a", Incarnation: incarnation, Runner: "r", Timeout: time.Minute}, Spec: spec})
		}
		order(tree.DoStop, 1)
		if got := <-asked; got != "stop" {
			t.Fatalf("asked to %s", got)
		}
		begin := time.Now()
		order(tree.DoStart, 2)
		if in := <-results; in.Kind != tree.Started || in.Incarnation != 2 {
			t.Errorf("%+v", in)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the start waited %s for the answer to the stop", took)
		}
	})
}
