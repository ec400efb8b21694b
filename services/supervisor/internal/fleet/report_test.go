package fleet

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestReportsAreGuarded: a log that does not answer is left alone after some
// failures; a report that it does not take is no report.
func TestReportsAreGuarded(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		natstest.Streams(t, natstest.JetStream(t, nc))
		env := newEnv(t, nc, prometheus.NewRegistry())
		log := s.Mutable(t, nc)
		reports := shell.NewGuard(env, nil, contracts.ServiceEventStore)
		env.JS = log
		c := NewCommander(t.Context(), env, config.Default(), nil, reports, nil, func(tree.Input) {})
		report := func() error {
			return c.report(Command{Order: leader.Order{Effect: tree.Effect{Node: "a", Incarnation: 1}}}, contracts.ReasonUnverified, "silent")
		}
		log.Silence(true)
		// Whether it was reported before is asked for, and not known; to store it
		// once more does no harm. So calls succeed in between.
		for range 4 {
			if err := report(); err != nil {
				t.Errorf("the stream takes it, and that gives %v", err)
			}
		}
		if n := log.Asked(); n != 12 || reports.State() != guard.Closed {
			t.Errorf("asked %d times in silence; the breaker is %s", n, reports.State())
		}
		for range 5 {
			c.stored("a", "x")
		}
		before := log.Asked()
		if err := report(); !guard.Rejected(err) || reports.State() != guard.Open {
			t.Errorf("the breaker is %s, and a report gives %v", reports.State(), err)
		}
		if n := log.Asked() - before; n != 0 {
			t.Errorf("asked %d times while the breaker is open", n)
		}
		log.Silence(false)
		<-time.After(30 * time.Second)
		if err := report(); err != nil {
			t.Errorf("the log answers, and that gives %v", err)
		}
	})
}

// TestFailedStartIsAskedForOnce: while the log does not take the report that a
// start has failed, the runner is not asked for it again.
func TestFailedStartIsAskedForOnce(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		asked := 0
		if _, err := nc.Subscribe(contracts.RunnerSubject("r", "start"), func(m *nats.Msg) {
			asked++
			body, _ := json.Marshal(contracts.RunnerReply{Code: contracts.RunnerInvalid, Error: "no such program"})
			_ = m.Respond(body)
		}); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		env := newEnv(t, s.Connect(t), prometheus.NewRegistry())
		c := NewCommander(t.Context(), env, config.Default(), nil, shell.NewGuard(env, nil, contracts.ServiceEventStore), nil, func(tree.Input) {})
		c.Do(Command{Order: leader.Order{
			Effect: tree.Effect{Kind: tree.DoStart, Node: "a", Incarnation: 1, Runner: "r"},
			Spec:   &tree.Spec{Agent: &tree.Agent{Start: json.RawMessage(`{"command":["x"]}`)}},
		}})
		<-time.After(10 * time.Second) // there is no log yet
		natstest.Streams(t, natstest.JetStream(t, nc))
		for c.Pending() > 0 {
			<-time.After(time.Second)
		}
		stream, err := env.JS.Stream(t.Context(), contracts.EventStream)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.GetLastMsgForSubject(t.Context(), contracts.EventSubject(contracts.AgentFailed, "a")); err != nil || asked != 1 {
			t.Errorf("asked %d times; the report: %v", asked, err)
		}
	})
}
