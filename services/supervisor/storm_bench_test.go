package supervisor

import (
	"bytes"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// BenchmarkStorm lets 10,000 agents of one host exit at once, which has no
// runner any more that could start them again, and compares how many of these
// ends are decided upon a second, stored in the log, with how many messages a
// second the server takes when as many with the same bytes in all are published
// asynchronously, by a client that does nothing else.
//
// The clock of alone begins when all exits are stored and the supervisor is let
// at them. That of the whole begins when the first exit is published, so it
// includes that the host publishes 10,000 events. The cpu-ratio compares what
// both need of the processors, server and publishing host included. All are
// medians of seven storms, each with a server and a supervisor of its own.
func BenchmarkStorm(b *testing.B) {
	const agents, storms = 10_000, 7
	var whole, alone, raw, spent, floor []float64
	for b.Loop() {
		for i := range 2 * storms {
			gated := i%2 == 0
			r := newRig(b, natstest.Start)
			f := flat(b, "main", "r1", agents)
			r.store(f, "r1")
			decisions := r.follow("main")
			t, stop := r.supervise("s1", f)
			if !gated {
				t = nil
			}
			before := processorTime(b)
			took, messages := r.storm(decisions, agents, 1, t)
			if gated {
				alone = append(alone, agents/took.Seconds())
			} else {
				spent = append(spent, (processorTime(b) - before).Seconds())
				whole = append(whole, agents/took.Seconds())
			}
			stop()
			before = processorTime(b)
			raw = append(raw, agents/r.flood(messages, agents).Seconds())
			floor = append(floor, (processorTime(b) - before).Seconds())
		}
	}
	reportStorm(b, whole, alone, raw)
	b.ReportMetric(median(floor)/median(spent), "cpu-ratio")
}

// BenchmarkStormRestarted is the same with a runner that starts them again: that
// goes on beside the decisions, and takes most of the work.
func BenchmarkStormRestarted(b *testing.B) {
	const agents = 10_000
	r := newRig(b, natstest.Listen)
	r.serveRunner("r1")
	decisions := r.follow("main")
	t, _ := r.supervise("s1", flat(b, "main", "r1", agents))
	awaitRunning(decisions, agents)
	var whole, alone, raw []float64
	incarnation := uint64(0)
	for b.Loop() {
		for _, t := range []*tap{t, nil} {
			incarnation++
			took, messages := r.storm(decisions, agents, incarnation, t)
			if t != nil {
				alone = append(alone, agents/took.Seconds())
			} else {
				whole = append(whole, agents/took.Seconds())
			}
			awaitRunning(decisions, agents-occurrences(messages, comesToRun))
			raw = append(raw, agents/r.flood(messages, agents).Seconds())
		}
	}
	reportStorm(b, whole, alone, raw)
}

func reportStorm(b *testing.B, whole, alone, raw []float64) {
	b.ReportMetric(median(alone), "decisions/s")
	b.ReportMetric(median(whole), "whole-decisions/s")
	b.ReportMetric(median(raw), "floor-messages/s")
	b.ReportMetric(median(alone)/median(raw), "ratio")
	b.ReportMetric(median(whole)/median(raw), "whole-ratio")
}

// storm lets all agents exit and gives the time until the last is decided
// upon, and the decisions until then. With a tap the supervisor hears nothing
// before all exits are stored.
func (r *rig) storm(decisions *follower, agents int, incarnation uint64, t *tap) (took time.Duration, messages [][]byte) {
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
	last := r.publish(events)
	if t != nil {
		begin = time.Now()
	}
	release()
	took = decisions.await(last).Sub(begin)
	for n := agents; n > 0; {
		next := decisions.next()
		n -= occurrences([][]byte{next}, exited)
		messages = append(messages, next)
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

// publish stores messages asynchronously, waits for all, and gives the sequence
// of the last.
func (r *rig) publish(messages []*nats.Msg) (last uint64) {
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
		case ack := <-f.Ok():
			last = max(last, ack.Sequence)
		}
	}
	return last
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
