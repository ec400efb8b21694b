package shell_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestGuardedCallEndsWithTheConnection asks what nobody answers, and takes the
// server away: the call ends at once, not when its minute is over, and speaks
// not against the service.
func TestGuardedCallEndsWithTheConnection(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, env := withStreams(t, "router")
		if _, err := env.NC.SubscribeSync("silent"); err != nil {
			t.Fatal(err)
		}
		g := shell.NewGuard(env, nil, contracts.ServiceRunner)
		begin, ended := time.Now(), make(chan error)
		go func() {
			ended <- g.Run(t.Context(), "ask", func(ctx context.Context) error {
				_, err := env.NC.RequestWithContext(ctx, "silent", nil)
				return err
			})
		}()
		<-time.After(time.Second)
		s.Down()
		if err := <-ended; !errors.Is(err, guard.ErrInterrupted) {
			t.Errorf("the call ended with %v", err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if g.State() != guard.Closed {
			t.Errorf("the breaker is %s", g.State())
		}
		s.Up(t)
		for env.NC.Stats().Reconnects == 0 {
			<-time.After(10 * time.Millisecond)
		}
		if err := g.Run(t.Context(), "flush", env.NC.FlushWithContext); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestNamedGuardHasTheTimeouts of the service whose settings it has, for each
// operation, but for those of its own name.
func TestNamedGuardHasTheTimeouts(t *testing.T) {
	f := config.Default()
	f.Timeouts.Services = map[string]time.Duration{"runner": 10 * time.Second, "runner/own": time.Second}
	f.Timeouts.Operations = map[string]map[string]time.Duration{"runner": {"start": 5 * time.Second}}
	for _, c := range []struct {
		downstream, op string
		want           time.Duration
	}{
		{"runner", "list", 10 * time.Second},
		{"runner/r1", "list", 10 * time.Second},
		{"runner/r1", "start", 5 * time.Second},
		{"runner/own", "list", time.Second},
		{"runner/own", "start", 5 * time.Second},
	} {
		t.Run(c.downstream+" "+c.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := shell.NewNamedGuard(shell.Env{Service: "supervisor"}, f, "runner", c.downstream)
				defer g.Close(t.Context())
				begin := time.Now()
				err := g.Run(t.Context(), c.op, func(ctx context.Context) error {
					end, ok := ctx.Deadline()
					if got := end.Sub(begin); !ok || got != c.want {
						t.Errorf("%s may take %v, want %v", c.op, got, c.want)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
	if len(f.Timeouts.Services) != 2 || len(f.Timeouts.Operations) != 1 {
		t.Errorf("the file has changed: %+v", f.Timeouts)
	}
}

// TestStoresAreBackSoon: a store's answer is not waited for as long as others', and
// once it fails it is soon tried again, unless the configuration says otherwise.
func TestStoresAreBackSoon(t *testing.T) {
	named := config.Default()
	named.Timeouts.Services["eventstore"] = 9 * time.Second
	named.CircuitBreakers["eventstore"] = config.CircuitBreaker{FailureThreshold: 5, SuccessThreshold: 1, Timeout: 9 * time.Second, HalfOpenMaxCalls: 1}
	brief := config.Default()
	brief.Timeouts.Global = time.Second
	for name, c := range map[string]struct {
		file                     *config.File
		settings                 string
		wantTimeout, wantBreaker time.Duration
	}{
		"a store":          {nil, "state_store", 5 * time.Second, 2 * time.Second},
		"as configured":    {named, "eventstore", 9 * time.Second, 9 * time.Second},
		"all is brief":     {brief, "task_queue", time.Second, 2 * time.Second},
		"anything else":    {nil, "runner", time.Minute, 30 * time.Second},
		"another with one": {named, "event_log", 5 * time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				_, env := withStreams(t, "router")
				g := shell.NewNamedGuard(env, c.file, c.settings, c.settings+"/part")
				defer g.Close(t.Context())
				for g.State() == guard.Closed {
					_ = g.Run(t.Context(), "op", func(ctx context.Context) error {
						if end, _ := ctx.Deadline(); time.Until(end) != c.wantTimeout {
							t.Errorf("an attempt may take %s, want %s", time.Until(end), c.wantTimeout)
						}
						return errors.New("down")
					})
				}
				begin := g.Transitions()[0].At
				for g.State() == guard.Open {
					<-time.After(time.Millisecond)
				}
				if took := time.Since(begin).Round(10 * time.Millisecond); took != c.wantBreaker {
					t.Errorf("left alone for %s, want %s", took, c.wantBreaker)
				}
			})
		})
	}
}

// TestBreakerIsTold opens a breaker with calls that nobody answers, closes it
// with calls that are answered, and reads from the stream what was told of it.
func TestBreakerIsTold(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, env := withStreams(t, "router")
		agents := s.Connect(t)
		silent, err := agents.SubscribeSync("agent")
		if err == nil {
			err = agents.Flush() // the server knows of it
		}
		if err != nil {
			t.Fatal(err)
		}
		f := config.Default()
		f.CircuitBreakers["agent_service"] = config.CircuitBreaker{FailureThreshold: 2, SuccessThreshold: 2, Timeout: 10 * time.Second, HalfOpenMaxCalls: 1}
		f.Timeouts.Services["agent_service"] = time.Second
		g := shell.NewGuard(env, f, "agent_service")
		ask := func() error {
			return g.Run(t.Context(), "ask", func(ctx context.Context) error {
				_, err := env.NC.RequestWithContext(ctx, "agent", nil)
				return err
			})
		}
		if err := ask(); !errors.Is(err, guard.ErrOpen) {
			t.Errorf("nobody answered, and that gave %v", err)
		}
		if n, _, _ := silent.Pending(); n != 2 {
			t.Errorf("asked %d times, not until the breaker opened", n)
		}
		// That it is tried again is told neither way: it may open at once.
		<-time.After(10 * time.Second)
		if err := ask(); !errors.Is(err, guard.ErrOpen) {
			t.Errorf("the trial call was not answered either, and that gave %v", err)
		}
		if err := silent.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		if _, err := agents.Subscribe("agent", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
			t.Fatal(err)
		}
		if err := agents.Flush(); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		for range 2 {
			if err := ask(); err != nil {
				t.Errorf("answered, and that gave %v", err)
			}
		}
		synctest.Wait()
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}

		told := func(kind contracts.EventType, from, to, reason string) toldBreaker {
			return toldBreaker{kind, "router", "router/router-1", contracts.SystemBreakerData{
				Service: "router", Breaker: "agent_service", From: from, To: to, Reason: reason,
			}}
		}
		const silence = "no answer within its timeout of 1s: context deadline exceeded"
		want := []toldBreaker{
			told(contracts.SystemBreakerOpen, "closed", "open", "2 failures in a row, the last: "+silence),
			told(contracts.SystemBreakerOpen, "half_open", "open", "a trial call failed: "+silence),
			told(contracts.SystemBreakerClosed, "half_open", "closed", "2 successes in a row"),
		}
		if diff := cmp.Diff(want, breakerEvents(t, s)); diff != "" {
			t.Error(diff)
		}
	})
}

type toldBreaker struct {
	Type           contracts.EventType
	Entity, Source string
	Data           contracts.SystemBreakerData
}

// breakerEvents lists the stored events, all of which must be about breakers.
func breakerEvents(t *testing.T, s *natstest.Server) []toldBreaker {
	t.Helper()
	var told []toldBreaker
	for _, ev := range stored(t, s) {
		data, err := contracts.DecodeData[contracts.SystemBreakerData](ev)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, toldBreaker{ev.Type, ev.Entity, ev.Source, data})
	}
	return told
}
