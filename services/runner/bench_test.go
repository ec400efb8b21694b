package runner_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner"
)

// BenchmarkKillToRestarted measures from kill -9 of an agent to the answer that
// its next incarnation runs. In between: the exit is found, written down and
// stored in the stream; a supervisor that decides at once hears of it and sends
// the start; the start is written down before and after. Server, runner and
// supervisor share one process.
func BenchmarkKillToRestarted(b *testing.B) {
	server := natstest.Listen(b)
	nc := server.Connect(b)
	natstest.Streams(b, natstest.JetStream(b, nc))
	ctx, cancel := context.WithCancel(b.Context())
	done, ready := make(chan error), make(chan struct{})
	cfg := runner.Config{Name: "r1", StateDir: b.TempDir(), StopAgents: true}
	go func() {
		done <- runOn(ctx, server.Connect(b), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() { close(ready) })
	}()
	<-ready
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	failed := make(chan *nats.Msg, 16)
	if _, err := nc.ChanSubscribe(contracts.EventTypeWildcard(contracts.AgentFailed), failed); err != nil {
		b.Fatal(err)
	}
	incarnation := uint64(0)
	start := func() int {
		incarnation++
		body, _ := json.Marshal(contracts.StartCommand{Agent: "a", Incarnation: incarnation, Command: []string{"sleep", "1000"}})
		msg, err := nc.Request(contracts.RunnerSubject("r1", "start"), body, patience)
		if err != nil {
			b.Fatal(err)
		}
		var reply contracts.RunnerReply
		if err := json.Unmarshal(msg.Data, &reply); err != nil || reply.Code != contracts.RunnerOK {
			b.Fatalf("start: %+v, %v", reply, err)
		}
		return reply.PID
	}
	pid := start()
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		<-failed
		pid = start()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
