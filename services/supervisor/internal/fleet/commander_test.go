package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
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
		env := newEnv(t, s.Connect(t), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan tree.Input, 16)
		c := NewCommander(ctx, env, config.Default(), nil, shell.NewGuard(env, nil, contracts.ServiceEventStore), nil, func(in tree.Input) { results <- in })
		defer c.Wait()
		defer cancel()
		spec := &tree.Spec{ID: "a", Agent: &tree.Agent{Start: json.RawMessage(`{"command":["x"]}`)}}
		order := func(kind tree.EffectKind, incarnation uint64) {
			c.Do(Command{Order: leader.Order{Effect: tree.Effect{Kind: kind, Node: "a", Incarnation: incarnation, Runner: "r", Timeout: time.Minute}, Spec: spec}})
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

// TestStartsStandInLine: of more starts than a runner is given at once none is
// refused, and a stop passes them by and ends the wait of the start that it is
// about.
func TestStartsStandInLine(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		asked := make(chan *nats.Msg, 1000)
		for _, verb := range []string{"start", "stop"} {
			if _, err := nc.ChanSubscribe(contracts.RunnerSubject("r", verb), asked); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		env := newEnv(t, s.Connect(t), prometheus.NewRegistry())
		const places, agents = 4, 100
		f := config.Default()
		f.Bulkheads = map[string]config.Bulkhead{contracts.ServiceRunner: {MaxConcurrentCalls: places, MaxWaitDuration: time.Second, MaxWaiting: 2}}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan tree.Input, 2*agents)
		c := NewCommander(ctx, env, f, nil, shell.NewGuard(env, nil, contracts.ServiceEventStore), nil, func(in tree.Input) { results <- in })
		defer c.Wait()
		defer cancel()
		spec := &tree.Spec{Agent: &tree.Agent{Start: json.RawMessage(`{"command":["x"]}`)}}
		order := func(kind tree.EffectKind, agent string) {
			c.Do(Command{Order: leader.Order{Effect: tree.Effect{Kind: kind, Node: agent, Incarnation: 1, Runner: "r", Timeout: time.Minute}, Spec: spec}})
		}
		answer := func(m *nats.Msg) {
			body, _ := json.Marshal(contracts.RunnerReply{Code: contracts.RunnerOK, PID: 7})
			_ = m.Respond(body)
		}
		for i := range agents {
			order(tree.DoStart, "early-"+strconv.Itoa(i))
		}
		synctest.Wait()
		order(tree.DoStart, "late")
		synctest.Wait()
		order(tree.DoStop, "late")
		synctest.Wait()
		if n := len(asked); n != places {
			t.Fatalf("%d commands are under way, want %d", n, places)
		}
		answer(<-asked)
		for range places - 1 {
			held := <-asked
			defer answer(held)
		}
		m := <-asked
		if m.Subject != contracts.RunnerSubject("r", "stop") {
			t.Fatalf("%s came before the stop", m.Subject)
		}
		answer(m)
		started := 1
		for range 2 * (agents - places + 1) {
			select {
			case m := <-asked:
				started++
				answer(m)
			case in := <-results:
				if in.Node == "late" && in.Kind != tree.Stopped {
					t.Errorf("%+v", in)
				}
			}
		}
		if want := agents - places + 1; started != want {
			t.Errorf("%d starts were asked for, want %d", started, want)
		}
	})
}

// TestDrop: of runners that are gone for good nothing remains, so that names that
// never come again do not add up.
func TestDrop(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		l := newLab(t, contracts.RunnerOK)
		for _, runner := range []string{"pod-1", "pod-2"} {
			l.Meet(runner, "boot")
			if _, err := l.List(t.Context(), runner, func(int, error) {}); !errors.Is(err, nats.ErrNoResponders) {
				t.Fatalf("asked a runner that is not there: %v", err)
			}
		}
		named := func() (series int) {
			families, err := l.reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.Metric {
					for _, label := range m.Label {
						if strings.HasPrefix(label.GetValue(), "runner/") {
							series++
						}
					}
				}
			}
			return series
		}
		all := named()
		l.Drop("pod-1")
		if n := named(); all == 0 || n != all/2 || len(l.lines) != 1 || len(l.boots) != 1 {
			t.Errorf("%d series of %d, %d lines, %d boots remain", n, all, len(l.lines), len(l.boots))
		}
		l.Drop("pod-2")
		l.Drop("never heard of")
		if n := named(); n != 0 || len(l.lines)+len(l.boots) != 0 {
			t.Errorf("%d series remain", n)
		}
	})
}
