package detector_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// rig is a NATS server with the streams and a client.
type rig struct {
	t  *testing.T
	s  *natstest.Server
	nc *nats.Conn
	// metrics are those of the detector that was started last.
	metrics *prometheus.Registry
}

// bubble runs f with a rig, in virtual time.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		natstest.Streams(t, natstest.JetStream(t, nc))
		f(&rig{t: t, s: s, nc: nc})
	})
}

// detect runs a detector until stop is called.
func (r *rig) detect(cfg detector.Config) (stop func()) {
	r.t.Helper()
	return r.detectAs("detector-1", r.s.Connect(r.t), cfg)
}

// detectAs is detect under a name of its own, on a connection of its own.
func (r *rig) detectAs(instance string, nc *nats.Conn, cfg detector.Config) (stop func()) {
	r.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(r.t.Output(), nil))
	}
	health := shell.NewHealth("detector")
	r.metrics = prometheus.NewRegistry()
	env, err := shell.NewEnv(r.t.Context(), "detector", instance, nc, log, r.metrics, health)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- detector.Run(ctx, env, cfg) }()
	for {
		ready, changed := health.IsReady("detector")
		if ready {
			break
		}
		select {
		case <-changed:
		case err := <-ended:
			r.t.Fatalf("the detector ended: %v", err)
		}
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the detector ended with %v", err)
		}
		env.NC.Close()
	}
	r.t.Cleanup(stop)
	return stop
}

// beat lets an agent beat until stop is called, on a connection of its own.
func (r *rig) beat(agent string, every time.Duration, body string) (stop func()) {
	nc := r.s.Connect(r.t, nats.ReconnectBufSize(-1), nats.ReconnectWait(2*time.Second))
	return r.beatOn(nc, agent, every, body)
}

func (r *rig) beatOn(nc *nats.Conn, agent string, every time.Duration, body string) (stop func()) {
	return r.beatWith(nc, contracts.HeartbeatSubject(agent), every, body)
}

// beatAt is beat on any subject.
func (r *rig) beatAt(subject string, every time.Duration, body string) (stop func()) {
	return r.beatWith(r.s.Connect(r.t), subject, every, body)
}

func (r *rig) beatWith(nc *nats.Conn, subject string, every time.Duration, body string) (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		next := time.NewTicker(every)
		defer next.Stop()
		for {
			_ = nc.Publish(subject, []byte(body))
			select {
			case <-done:
				return
			case <-next.C:
			}
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(done)
			<-over
		}
	}
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) wait(d time.Duration) { <-time.After(d) }

// publish stores an event as another service would.
func (r *rig) publish(source string, typ contracts.EventType, agent string, data any) contracts.Event {
	r.t.Helper()
	return r.publishAt(time.Now(), source, typ, agent, data)
}

// publishAt is publish by a service whose clock shows another time of day.
func (r *rig) publishAt(at time.Time, source string, typ contracts.EventType, agent string, data any) contracts.Event {
	r.t.Helper()
	ev, err := contracts.NewEvent(source, typ, agent, at).Data(data).Build()
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := shell.PublishEvent(r.t.Context(), natstest.JetStream(r.t, r.nc), ev); err != nil {
		r.t.Fatal(err)
	}
	return ev
}

func (r *rig) started(agent string, incarnation uint64, deadline time.Duration) {
	r.t.Helper()
	r.publish("runner/r1", contracts.AgentStarted, agent, contracts.AgentStartedData{
		Agent: agent, Incarnation: incarnation, Runner: "r1", Type: "coder",
		Interval: contracts.Duration(time.Second), StartDeadline: contracts.Duration(deadline),
	})
}

// events are those stored, of the detector only.
func (r *rig) events() []contracts.Event {
	r.t.Helper()
	return slices.DeleteFunc(natstest.Events(r.t, natstest.JetStream(r.t, r.nc)), func(ev contracts.Event) bool {
		return !strings.HasPrefix(ev.Source, "detector/")
	})
}

// story is what the detector said about an agent, in short.
func (r *rig) story(agent string) []string {
	r.t.Helper()
	var lines []string
	for _, ev := range r.events() {
		if ev.Entity != agent {
			continue
		}
		line := ev.Type.Name()
		var d struct {
			Reason, To, Check string
			Incarnation       uint64
		}
		if err := json.Unmarshal(ev.Data, &d); err != nil {
			r.t.Fatal(err)
		}
		for _, word := range []string{d.Reason, d.To, d.Check} {
			if word != "" {
				line += " " + word
			}
		}
		if d.Incarnation > 0 {
			line += fmt.Sprint(" #", d.Incarnation)
		}
		lines = append(lines, line)
	}
	return lines
}

func (r *rig) expect(agent string, want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.story(agent)); diff != "" {
		r.t.Errorf("about %s (-want +got):\n%s", agent, diff)
	}
}

func call[T any](r *rig, verb string, req any) (T, error) {
	return shell.Call[T](r.t.Context(), r.nc, contracts.ServiceSubject("detector", verb), req)
}
