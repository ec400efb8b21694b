package natstest

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Mute is a JetStream that can fall silent, as one does whose disk hangs: what
// it is asked is taken, and not answered.
type Mute struct {
	jetstream.JetStream
	silent atomic.Bool
	asked  atomic.Int64
}

// muted is where it is asked.
const muted = "muted"

// Mutable gives the server's JetStream, as a connection has it, behind a Mute.
// Publishing to a stream's subjects is not behind it, the calls of a stream, a
// consumer and a bucket are.
func (s *Server) Mutable(tb testing.TB, nc *nats.Conn) *Mute {
	tb.Helper()
	m := &Mute{}
	relay := s.Connect(tb)
	_, err := relay.Subscribe(muted+".>", func(asked *nats.Msg) {
		m.asked.Add(1)
		if m.silent.Load() {
			return
		}
		forward := *asked
		forward.Sub = nil
		forward.Subject = strings.TrimPrefix(asked.Subject, muted+".")
		if !strings.HasPrefix(forward.Subject, "$KV.") {
			forward.Subject = "$JS.API." + forward.Subject
		}
		_ = relay.PublishMsg(&forward)
	})
	if err == nil {
		err = relay.Flush()
	}
	if err != nil {
		tb.Fatalf("listen in front of JetStream: %v", err)
	}
	if m.JetStream, err = jetstream.NewWithAPIPrefix(nc, muted); err != nil {
		tb.Fatalf("jetstream: %v", err)
	}
	return m
}

// Silence makes it silent, or answer again.
func (m *Mute) Silence(silent bool) { m.silent.Store(silent) }

// Asked counts what it was asked.
func (m *Mute) Asked() int64 { return m.asked.Load() }
