package supervisor

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// flat returns a tree of as many agents as wanted on one runner, that are
// restarted at once and without limit.
func flat(b *testing.B, treeName, runner string, agents int) *config.File {
	b.Helper()
	var y strings.Builder
	y.WriteString("supervision_tree:\n  name: " + treeName + "\n  verification: {stabilisation: 0s}\n  tree:\n")
	const most = 10_000
	for i := 0; agents > 0; i++ {
		n := min(agents, most)
		agents -= n
		name := treeName + "-" + string(rune('a'+i))
		y.WriteString("  - name: " + name + "-group\n    children:\n")
		y.WriteString("    - {name: " + name + ", count: " + strconv.Itoa(n) + ", command: [./agent, --flag], runner: " + runner + "}\n")
	}
	f, err := config.Parse("bench.yaml", []byte(y.String()))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range f.Tree.Root.Children {
		c.Node.Policy.MaxRestarts, c.Node.Policy.TimeWindow = 1<<30, time.Millisecond
		for _, a := range c.Node.Children {
			a.Agent.Policy.Delay = 0
		}
	}
	return f
}

// BenchmarkOverhead compares what lies between the arrival of an agent's exit
// at the supervisor and the departure of the order to start it again with the
// floor: one event stored in the stream (as large as the decision) and one
// request answered. Each exit is followed by one floor.
func BenchmarkOverhead(b *testing.B) {
	r := newRig(b, natstest.Listen)
	r.serveRunner("r1")
	decisions := r.follow("main")
	const agents = 100
	t, _ := r.supervise("s1", flat(b, "main", "r1", agents))
	awaitRunning(decisions, agents)
	floor := newFloor(r)
	var subject, base times
	missed := 0
	for i := 0; b.Loop(); i++ {
		agent, incarnation := "main-a-"+strconv.Itoa(i%agents+1), uint64(i/agents+1)
		took, body := r.restart(t, decisions, agent, incarnation, "r1")
		if took < 0 {
			missed++
			continue
		}
		subject, base = append(subject, took), append(base, floor.once(body))
	}
	if missed > b.N/50 {
		b.Fatalf("%d of %d arrivals missed", missed, b.N)
	}
	b.ReportMetric(subject.quantile(.5), "p50-µs")
	b.ReportMetric(base.quantile(.5), "floor-p50-µs")
	b.ReportMetric(subject.quantile(.99), "p99-µs")
	b.ReportMetric(base.quantile(.99), "floor-p99-µs")
	b.ReportMetric(subject.quantile(.5)/base.quantile(.5), "p50-ratio")
	b.ReportMetric(subject.quantile(.99)/base.quantile(.99), "p99-ratio")
}

// restart lets an agent exit, waits until its next incarnation runs, and gives
// the supervisor's part of it and the decision's message.
func (r *rig) restart(t *tap, decisions *follower, agent string, incarnation uint64, runner string) (took time.Duration, decision []byte) {
	r.b.Helper()
	ev := r.exit(agent, incarnation)
	between := t.between(ev.ID, contracts.RunnerSubject(runner, "start"))
	if _, err := shell.PublishEvent(context.Background(), r.js, ev); err != nil {
		r.b.Fatal(err)
	}
	select {
	case took = <-between:
	case <-time.After(time.Minute):
		r.b.Fatalf("%s is not started again", agent)
	}
	for {
		next := decisions.next()
		if decision == nil {
			decision = next
		}
		if strings.Contains(string(next), `"kind":"running","node":"`+agent+`"`) {
			return took, decision
		}
	}
}

// floor does what nobody can do without who stores a decision before acting on
// it: as soon as an event is delivered to it, it stores a message and makes a
// request.
type floor struct {
	r    *rig
	nc   *nats.Conn
	js   jetstream.JetStream
	n    int
	body []byte
	took chan time.Duration
}

const floorEvent contracts.EventType = "smith.custom.floor"

func newFloor(r *rig) *floor {
	answering := r.server.Connect(r.b)
	reply := []byte(`{"code":"ok"}`)
	if _, err := answering.Subscribe("floor", func(m *nats.Msg) { _ = m.Respond(reply) }); err != nil {
		r.b.Fatal(err)
	}
	if err := answering.Flush(); err != nil {
		r.b.Fatal(err)
	}
	nc := r.server.Connect(r.b, nats.SetCustomDialer(&tap{}))
	js, err := jetstream.New(nc)
	if err != nil {
		r.b.Fatal(err)
	}
	f := &floor{r: r, nc: nc, js: js, took: make(chan time.Duration, 1)}
	events, err := js.OrderedConsumer(context.Background(), contracts.EventStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contracts.EventSubject(floorEvent, "bench")}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		r.b.Fatal(err)
	}
	delivery, err := events.Consume(func(jetstream.Msg) { f.took <- f.act() })
	if err != nil {
		r.b.Fatal(err)
	}
	r.b.Cleanup(delivery.Stop)
	return f
}

// once measures one publish of a message with these bytes and one request.
func (f *floor) once(body []byte) time.Duration {
	f.r.b.Helper()
	f.body = body
	ev, err := contracts.NewEvent("bench", floorEvent, "bench", time.Now()).Data(map[string]string{"as": strings.Repeat("long as an exit ", 16)}).Build()
	if err == nil {
		_, err = shell.PublishEvent(context.Background(), f.r.js, ev)
	}
	if err != nil {
		f.r.b.Fatal(err)
	}
	select {
	case took := <-f.took:
		return took
	case <-time.After(time.Minute):
		f.r.b.Fatal("the floor does not act")
		return 0
	}
}

func (f *floor) act() time.Duration {
	f.n++
	msg := nats.NewMsg(contracts.EventSubject("smith.custom.stored", "bench"))
	msg.Data = f.body
	msg.Header.Set(jetstream.MsgIDHeader, "floor-"+strconv.Itoa(f.n))
	order := make([]byte, 300)
	begin := time.Now()
	_, err := f.js.PublishMsg(f.r.b.Context(), msg)
	if err == nil {
		_, err = f.nc.Request("floor", order, time.Second)
	}
	took := time.Since(begin)
	if err != nil {
		f.r.b.Error(err)
	}
	return took
}
