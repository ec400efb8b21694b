package fleet

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// newEnv is what a supervisor's commander runs in.
func newEnv(t *testing.T, nc *nats.Conn, reg prometheus.Registerer) shell.Env {
	t.Helper()
	env, err := shell.NewEnv(t.Context(), "supervisor", "s1", nc, slog.New(slog.DiscardHandler), reg, shell.NewHealth())
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// lab is a commander on a server with the log, and a runner r that answers starts
// as reply says and tells of each.
type lab struct {
	*Commander
	t      *testing.T
	js     jetstream.JetStream
	reg    *prometheus.Registry
	starts chan contracts.StartCommand
	// lease is why the commander's supervisor does not have it.
	lease error
}

func newLab(t *testing.T, reply contracts.RunnerCode) *lab {
	s := natstest.Start(t)
	nc := s.Connect(t)
	l := &lab{t: t, js: natstest.JetStream(t, nc), reg: prometheus.NewRegistry(), starts: make(chan contracts.StartCommand, 100)}
	natstest.Streams(t, l.js)
	_, err := nc.Subscribe(contracts.RunnerSubject("r", "start"), func(m *nats.Msg) {
		var cmd contracts.StartCommand
		if err := json.Unmarshal(m.Data, &cmd); err != nil {
			t.Error(err)
		}
		l.starts <- cmd
		body, _ := json.Marshal(contracts.RunnerReply{Code: reply})
		_ = m.Respond(body)
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	env := newEnv(t, s.Connect(t), l.reg)
	ctx, cancel := context.WithCancel(t.Context())
	log, err := l.js.Stream(ctx, contracts.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	fence := journal.NewFence(log, config.Default().Tree.Name, func(context.Context) error { return l.lease })
	l.Commander = NewCommander(ctx, env, config.Default(), nil, shell.NewGuard(env, nil, contracts.ServiceEventStore), fence, func(tree.Input) {})
	t.Cleanup(func() {
		cancel()
		l.Wait()
	})
	return l
}

func (l *lab) start(incarnation uint64) Command {
	spec := &tree.Spec{ID: "a", Agent: &tree.Agent{Start: json.RawMessage(`{"command":["x"]}`)}}
	return Command{Order: leader.Order{Effect: tree.Effect{Kind: tree.DoStart, Node: "a", Incarnation: incarnation, Runner: "r"}, Spec: spec, Decision: "d"}}
}

// decided stores a decision about the tree by somebody, and gives its place.
func (l *lab) decided() uint64 {
	l.t.Helper()
	ack, err := l.js.Publish(l.t.Context(), contracts.EventSubject(contracts.TreeDecided, "main"), []byte("{}"))
	if err != nil {
		l.t.Fatal(err)
	}
	return ack.Sequence
}

// losses counts the reports that the log has.
func (l *lab) losses() int {
	l.t.Helper()
	stream, err := l.js.Stream(l.t.Context(), contracts.EventStream)
	if err != nil {
		l.t.Fatal(err)
	}
	info, err := stream.Info(l.t.Context(), jetstream.WithSubjectFilter(contracts.EventSubject(contracts.AgentFailed, "a")))
	if err != nil {
		l.t.Fatal(err)
	}
	return len(info.State.Subjects)
}

// TestStartsAreMeantForTheBootKnownWhenOrdered, and say with each try what their
// sender knows by then.
func TestStartsAreMeantForTheBootKnownWhenOrdered(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		l := newLab(t, contracts.RunnerFenced)
		l.Meet("r", "one")
		l.Know(5, 50)
		l.Do(l.start(2))
		if got := <-l.starts; got.BootID != "one" || got.Term != 5 {
			t.Errorf("for boot %q, by one who knows %d", got.BootID, got.Term)
		}
		l.Meet("r", "two")
		l.Know(6, 60)
		if got := <-l.starts; got.BootID != "one" || got.Term != 6 {
			t.Errorf("again for boot %q, by one who knows %d", got.BootID, got.Term)
		}
		l.Do(l.start(3))
		for got := range l.starts {
			if got.Incarnation == 3 {
				if got.BootID != "two" {
					t.Errorf("ordered anew for boot %q", got.BootID)
				}
				return
			}
		}
	})
}

// TestLossesGiveUpWhatIsUnderWay: a start that is repeated ends with the report.
func TestLossesGiveUpWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		l := newLab(t, contracts.RunnerFull)
		l.Know(1, l.decided())
		l.Do(l.start(2))
		<-l.starts
		<-l.starts
		l.ReportLost([]Command{l.start(2)})
		<-time.After(100 * time.Millisecond)
		for len(l.starts) > 0 {
			<-l.starts
		}
		<-time.After(time.Minute)
		if n := len(l.starts); n > 0 || l.Pending() > 0 {
			t.Errorf("%d more starts, %d agents with commands under way", n, l.Pending())
		}
		if n := l.losses(); n != 1 {
			t.Errorf("%d losses in the log", n)
		}
	})
}

// TestLossesAreFenced: whoever does not know the last decision reports none.
func TestLossesAreFenced(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		l := newLab(t, contracts.RunnerOK)
		l.Know(1, l.decided())
		last := l.decided() // somebody else's
		l.ReportLost([]Command{l.start(2)})
		<-time.After(time.Minute)
		if n := l.losses(); n != 0 {
			t.Fatalf("%d losses in the log", n)
		}
		l.Know(2, last)
		<-time.After(5 * time.Second)
		if n := l.losses(); n != 1 {
			t.Errorf("%d losses in the log of one who knows all", n)
		}
	})
}

// TestLossesAfterALongSilence: a loss is reported though the log has forgotten the last
// decision, by a supervisor that has the lease.
func TestLossesAfterALongSilence(t *testing.T) {
	t.Parallel()
	for want, lease := range []error{journal.ErrSuperseded, nil} {
		natstest.Bubble(t, func(t *testing.T) {
			l := newLab(t, contracts.RunnerOK)
			l.lease = lease
			l.Know(1, l.decided())
			natstest.Streams(t, l.js) // in virtual time an update of the stream expires all
			l.ReportLost([]Command{l.start(2)})
			<-time.After(5 * time.Second)
			if n := l.losses(); n != want {
				t.Errorf("with the lease: %v: %d losses in the log", lease, n)
			}
		})
	}
}
