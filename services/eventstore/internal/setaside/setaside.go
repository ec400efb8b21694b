// Package setaside keeps copies of messages that are no events, where people
// can look at them: on smith.dead.event.<reason>, with headers that tell where
// each came from and why it was refused. The message itself stays in the event
// stream until it ages, so nothing is lost if a copy cannot be made.
package setaside

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/intake"
)

// Headers of a message that was set aside.
const (
	HeaderOrigin   = "Smith-Origin"
	HeaderSequence = contracts.HeaderSequence
	HeaderStored   = "Smith-Stored"
	HeaderCause    = "Smith-Cause"
)

// askTimeout bounds one try of a request, unless the guard's is nearer.
const askTimeout = 5 * time.Second

// Shelf sets messages aside. Each is set aside, counted and reported once, even
// if the index is rebuilt and it comes by again.
type Shelf struct {
	env     shell.Env
	dead    jetstream.Stream
	guard   *guard.Guard
	rejects *shell.Rejects
	counter *prometheus.CounterVec

	// stream and done say up to which sequence of which stream all has been
	// set aside already. Only Reject uses them, from one goroutine.
	stream time.Time
	done   uint64
}

// New makes a Shelf that writes to the stream of dead messages through g.
func New(env shell.Env, dead jetstream.Stream, g *guard.Guard) *Shelf {
	return &Shelf{
		env: env, dead: dead, guard: g, rejects: shell.NewRejects(env),
		counter: shell.Counter(env.Metrics, prometheus.CounterOpts{
			Name: "smith_eventstore_rejected_total", Help: "Messages in the event stream that are no events, by reason.",
		}, "reason"),
	}
}

// Reject sets a message aside, counts and reports it. It does not fail: what
// cannot be done is logged.
func (s *Shelf) Reject(ctx context.Context, stream time.Time, r eventlog.Record, why *intake.Rejection) {
	if !stream.Equal(s.stream) {
		done, err := s.reached(ctx, stream)
		if err != nil {
			s.env.Log.Warn("cannot tell which messages are set aside already", "error", err)
		}
		s.stream, s.done = stream, done
	}
	if r.Sequence <= s.done {
		return
	}
	s.counter.WithLabelValues(string(why.Reason)).Inc()
	subject := contracts.DeadEventSubject(string(why.Reason))
	if err := s.put(ctx, stream, subject, r, why); err != nil {
		s.env.Log.Warn("message not set aside; it remains in the event stream", "subject", contracts.Clip(r.Subject, 256), "sequence", r.Sequence, "error", err)
		subject = ""
	}
	s.done = r.Sequence
	// A report about a report could go round in a circle.
	if !strings.HasPrefix(r.Subject, contracts.EventSubject(contracts.SystemMessageRejected, "")) {
		s.rejects.Reject(ctx, shell.Message{
			Kind: "event", Subject: r.Subject, Sequence: r.Sequence, Body: r.Data, SetAside: subject,
		}, why)
	}
}

func (s *Shelf) put(ctx context.Context, stream time.Time, subject string, r eventlog.Record, why *intake.Rejection) error {
	msg := nats.NewMsg(subject)
	msg.Data = r.Data
	msg.Header.Set(jetstream.MsgIDHeader, copyID(stream, r.Sequence))
	msg.Header.Set(HeaderOrigin, contracts.Clip(r.Subject, 256))
	msg.Header.Set(HeaderSequence, strconv.FormatUint(r.Sequence, 10))
	msg.Header.Set(HeaderStored, r.Time.UTC().Format(time.RFC3339Nano))
	msg.Header.Set(HeaderCause, contracts.Clip(shell.OneLine(why.Error()), 1024))
	return s.guard.Run(ctx, "set_aside", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		_, err := s.env.JS.PublishMsg(ctx, msg)
		return err
	})
}

// reached finds the last message of the event stream that was set aside.
func (s *Shelf) reached(ctx context.Context, stream time.Time) (done uint64, err error) {
	for _, reason := range intake.Reasons() {
		subject := contracts.DeadEventSubject(string(reason))
		seq, e := guard.Do(ctx, s.guard, "last", func(ctx context.Context) (uint64, error) {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			m, err := s.dead.GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return 0, nil
			}
			if err != nil {
				return 0, fmt.Errorf("last message on %s: %w", subject, err)
			}
			seq, _ := strconv.ParseUint(m.Header.Get(HeaderSequence), 10, 64)
			if m.Header.Get(jetstream.MsgIDHeader) != copyID(stream, seq) {
				return 0, nil // of another stream, or somebody else's
			}
			return seq, nil
		})
		done, err = max(done, seq), errors.Join(err, e)
	}
	return done, err
}

// copyID is the same for the same message of the same stream.
func copyID(stream time.Time, seq uint64) string {
	return fmt.Sprintf("rejected-%d-%d", stream.UnixNano(), seq)
}
