package agent_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// journal collects what handlers saw.
type journal struct {
	mu   sync.Mutex
	seen []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen = append(j.seen, fmt.Sprintf(format, args...))
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if got := strings.Join(j.seen, " "); got != strings.Join(want, " ") {
		t.Errorf("saw %q, want %q", got, want)
	}
}

func (w *world) emit(t contracts.EventType, entity, source, correlation string, v any) contracts.Event {
	w.t.Helper()
	e, err := contracts.NewEvent(source, t, entity, time.Now()).Correlation(correlation).Data(v).Build()
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := e.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.Publish(w.t.Context(), e.Subject(), body); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// listen runs a listener; the returned function ends it.
func (w *world) listen(l *agent.Listener) (end func()) {
	w.t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	l.Conn, l.Log, l.Ready = w.nc, quiet(), func() { close(ready) }
	ctx, cancel := context.WithCancel(w.t.Context())
	go func() { ended <- l.Run(ctx) }()
	<-ready
	return func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("listener: %v", err)
		}
	}
}

func TestListenerFilters(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.emit(contracts.AgentFailed, "old", "detector/d", "", nil)
		var byType, bySource, byStory, all, typed, stored journal
		note := func(j *journal) agent.EventHandler {
			return func(_ context.Context, e contracts.Event) error {
				j.add("%s/%s", e.Type.Name(), e.Entity)
				return nil
			}
		}
		past := time.Now().Add(-time.Hour)
		var l agent.Listener
		l.Handle("type", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentCreated}}, note(&byType))
		l.Handle("source", contracts.EventFilter{Sources: []string{"runner/r"}}, note(&bySource))
		l.Handle("story", contracts.EventFilter{Correlations: []string{"s1"}}, note(&byStory))
		l.Handle("all", contracts.EventFilter{}, note(&all))
		l.Handle("stored", contracts.EventFilter{From: &past}, note(&stored))
		agent.On(&l, "typed", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentFailed}}, func(_ context.Context, _ contracts.Event, d contracts.AgentFailedData) error {
			typed.add("%s-%d", d.Reason, d.Incarnation)
			return nil
		})
		end := w.listen(&l)
		w.emit(contracts.AgentCreated, "a", "detector/d", "", nil)
		w.emit(contracts.AgentFailed, "a", "runner/r", "s1", contracts.AgentFailedData{Reason: contracts.ReasonExited, Incarnation: 4})
		w.emit(contracts.AgentStarted, "b", "runner/r", "s1", nil)
		synctest.Wait()
		byType.want(t, "created/a")
		bySource.want(t, "failed/a", "started/b")
		byStory.want(t, "failed/a", "started/b")
		all.want(t, "created/a", "failed/a", "started/b")
		stored.want(t, "failed/old", "created/a", "failed/a", "started/b")
		typed.want(t, "exited-4")
		end()
	})
}

func TestListenerBearsFailingHandlers(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var good, reports journal
		release := make(chan struct{})
		l := agent.Listener{OnError: func(err *agent.HandlerError) { reports.add("%s:%s", err.Handler, err.Event.Entity) }}
		var all contracts.EventFilter
		add := func(name string, f func() error) {
			l.Handle(name, all, func(context.Context, contracts.Event) error { return f() })
		}
		l.Handle("good", all, func(_ context.Context, e contracts.Event) error { good.add("%s", e.Entity); return nil })
		add("stuck", func() error { <-release; return nil })
		end := w.listen(&l)
		w.emit(contracts.AgentFailed, "a", "x", "", nil)
		if _, err := w.js.Publish(t.Context(), "smith.event.agent.failed.b", []byte("gibberish")); err != nil {
			t.Fatal(err)
		}
		w.emit(contracts.AgentFailed, "c", "x", "", nil)
		synctest.Wait()
		good.want(t, "a", "c")
		reports.want(t, "good:")
		close(release)
		end()
	})
	for name, f := range map[string]func() error{
		"error": func() error { return errBoom }, "panic": func() error { panic("x") }, "goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				w := newWorld(t)
				var good, reports journal
				l := agent.Listener{OnError: func(err *agent.HandlerError) {
					reports.add("%s:%s", err.Handler, err.Event.Entity)
					if name == "error" && !errors.Is(err, errBoom) {
						t.Errorf("error %v", err)
					}
				}}
				l.Handle("bad", contracts.EventFilter{}, func(context.Context, contracts.Event) error { return f() })
				l.Handle("good", contracts.EventFilter{}, func(_ context.Context, e contracts.Event) error { good.add("%s", e.Entity); return nil })
				end := w.listen(&l)
				w.emit(contracts.AgentFailed, "a", "x", "", nil)
				w.emit(contracts.AgentFailed, "b", "x", "", nil)
				synctest.Wait()
				good.want(t, "a", "b")
				reports.want(t, "bad:a", "bad:b")
				end()
			})
		})
	}
}

func TestListenerMissesNothingInAnOutage(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var seen journal
		var l agent.Listener
		l.Handle("all", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentFailed}}, func(_ context.Context, e contracts.Event) error { seen.add("%s", e.Entity); return nil })
		end := w.listen(&l)
		for i := range 3 {
			w.server.Down()
			<-time.After(20 * time.Second)
			w.server.Up(t)
			for !w.nc.IsConnected() {
				<-time.After(10 * time.Millisecond)
			}
			w.emit(contracts.AgentFailed, fmt.Sprint(i), "x", "", nil)
		}
		<-time.After(time.Minute)
		seen.want(t, "0", "1", "2")
		end()
	})
}

func TestListenerWaitsForTheLog(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		w := &world{t: t, server: s, nc: s.Connect(t)}
		w.js = natstest.JetStream(t, w.nc)
		go func() {
			<-time.After(time.Minute)
			natstest.Streams(t, w.js)
		}()
		var seen journal
		var l agent.Listener
		l.Handle("all", contracts.EventFilter{}, func(_ context.Context, e contracts.Event) error { seen.add("%s", e.Entity); return nil })
		end := w.listen(&l)
		w.emit(contracts.AgentFailed, "a", "x", "", nil)
		synctest.Wait()
		seen.want(t, "a")
		end()
	})
}

func TestListenerRefuses(t *testing.T) {
	var l agent.Listener
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Conn") || !strings.Contains(err.Error(), "no handlers") {
		t.Errorf("empty: %v", err)
	}
	l.Conn = new(nats.Conn)
	l.Handle("h", contracts.EventFilter{Types: []contracts.EventType{"smith.agent.*"}}, nil)
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "smith.agent.*") || !strings.Contains(err.Error(), "handler h: has no function") {
		t.Errorf("wrong handler: %v", err)
	}
}
