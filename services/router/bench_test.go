package router_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
)

// BenchmarkRoute is how many tasks a second go all the way, from the queue
// over two events to the result, when the work itself takes no time.
func BenchmarkRoute(b *testing.B) {
	srv := natstest.Listen(b)
	nc := srv.Connect(b)
	js := natstest.JetStream(b, nc)
	natstest.Streams(b, js)
	var done atomic.Int64
	if _, err := nc.Subscribe(contracts.AgentTaskSubject("a"), func(m *nats.Msg) {
		var d contracts.TaskDispatch
		if json.Unmarshal(m.Data, &d) != nil {
			return
		}
		_ = m.Respond([]byte(`{"accepted":true}`))
		ev, err := contracts.NewEvent("agent/a", contracts.TaskCompleted, d.Type, time.Now()).Correlation(d.Task).
			Data(contracts.TaskResultData{Task: d.Task, Type: d.Type, Agent: "a", Attempt: d.Attempt}).Build()
		if err != nil {
			return
		}
		msg, err := shell.EventMessage(ev)
		if err != nil {
			return
		}
		if _, err := js.PublishMsgAsync(msg); err == nil {
			done.Add(1)
		}
	}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	rnc := srv.Connect(b)
	health := shell.NewHealth(contracts.ServiceRouter)
	ended := make(chan error, 1)
	go func() {
		ended <- router.Run(ctx, shell.Env{
			Service: contracts.ServiceRouter, Instance: "r", NC: rnc, JS: natstest.JetStream(b, rnc),
			Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: health,
		}, router.Config{})
	}()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	for ready, changed := health.IsReady(contracts.ServiceRouter); !ready; ready, changed = health.IsReady(contracts.ServiceRouter) {
		<-changed
	}
	if err := nc.Publish(contracts.HeartbeatSubject("a"), []byte(`{"type":"coder","capacity":256}`)); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		if _, err := js.PublishAsync(contracts.TaskSubject("code"), []byte(`{"payload":1}`), jetstream.WithStallWait(time.Second)); err != nil {
			b.Fatal(err)
		}
	}
	for done.Load() < int64(b.N) {
		<-time.After(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
