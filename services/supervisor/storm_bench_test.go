package supervisor

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// BenchmarkStorm lets 10,000 agents of one host exit at once and compares how
// many of these ends are decided upon a second, stored in the log, with how
// many messages a second the server takes when as many with the same bytes in
// all are published asynchronously, by a client that does nothing else. The
// agents come up again meanwhile.
//
// The clock of rate begins when the first exit is published, so it includes
// that the host publishes its 10,000 events; that of alone begins when they are
// stored and the supervisor is let at them.
func BenchmarkStorm(b *testing.B) {
	const agents = 10_000
	r := newRig(b)
	r.serveRunner("r1")
	decisions := r.follow("main")
	t, _ := r.supervise("s1", flat(b, "main", "r1", agents))
	awaitRunning(b, decisions, agents)
	var whole, alone, raw []float64
	incarnation := uint64(0)
	for b.Loop() {
		incarnation++
		took, messages := r.storm(decisions, agents, incarnation, nil)
		whole = append(whole, agents/took.Seconds())
		awaitRunning(b, decisions, agents-occurrences(messages, comesToRun))
		raw = append(raw, agents/r.flood(messages, agents).Seconds())
		incarnation++
		took, messages = r.storm(decisions, agents, incarnation, t)
		alone = append(alone, agents/took.Seconds())
		awaitRunning(b, decisions, agents-occurrences(messages, comesToRun))
		raw = append(raw, agents/r.flood(messages, agents).Seconds())
	}
	b.ReportMetric(median(whole), "decisions/s")
	b.ReportMetric(median(alone), "alone-decisions/s")
	b.ReportMetric(median(raw), "floor-messages/s")
	b.ReportMetric(median(whole)/median(raw), "ratio")
	b.ReportMetric(median(alone)/median(raw), "alone-ratio")
}

// storm lets all agents exit and gives the time until the last is decided
// upon, and the decisions until then. With a tap the supervisor hears nothing
// before all exits are stored.
func (r *rig) storm(decisions <-chan *nats.Msg, agents int, incarnation uint64, t *tap) (took time.Duration, messages [][]byte) {
	r.b.Helper()
	events := make([]*nats.Msg, agents)
	for i := range events {
		msg, err := shell.EventMessage(r.exit("main-a-"+strconv.Itoa(i+1), incarnation))
		if err != nil {
			r.b.Fatal(err)
		}
		events[i] = msg
	}
	release := func() {}
	if t != nil {
		release = t.hold()
	}
	begin := time.Now()
	r.publish(events)
	if t != nil {
		begin = time.Now()
	}
	release()
	for n := agents; n > 0; {
		select {
		case m := <-decisions:
			n -= occurrences([][]byte{m.Data}, exited)
			took = time.Since(begin)
			messages = append(messages, m.Data)
		case <-time.After(time.Minute):
			r.b.Fatalf("%d exits are not decided upon", n)
		}
	}
	return took, messages
}

// flood publishes n messages of as many bytes in all as those given.
func (r *rig) flood(messages [][]byte, n int) time.Duration {
	all := bytes.Join(messages, nil)
	size := len(all) / n
	out := make([]*nats.Msg, n)
	for i := range out {
		out[i] = nats.NewMsg(contracts.EventSubject("smith.custom.floor", "bench"))
		out[i].Data = all[i*size : (i+1)*size]
	}
	begin := time.Now()
	r.publish(out)
	return time.Since(begin)
}

// publish stores messages asynchronously and waits for all.
func (r *rig) publish(messages []*nats.Msg) {
	r.b.Helper()
	nc := r.server.Connect(r.b)
	defer nc.Close()
	js := natstest.JetStream(r.b, nc)
	futures := make([]jetstream.PubAckFuture, 0, len(messages))
	for _, m := range messages {
		f, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute))
		if err != nil {
			r.b.Fatal(err)
		}
		futures = append(futures, f)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		r.b.Fatal("messages are not stored")
	}
	for _, f := range futures {
		select {
		case err := <-f.Err():
			r.b.Fatal(err)
		default:
		}
	}
}
