package replay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/query"
)

const (
	// flowEvents and flowBytes are how much is sent until the requester must
	// say that it keeps up.
	flowEvents = 256
	flowBytes  = 4 << 20
	// flowTimeout is how long it may take for that.
	flowTimeout = 30 * time.Second
	// idleEvery is how often a word is sent while no event is due; it also
	// finds out whether anybody still listens.
	idleEvery = 10 * time.Second
)

var (
	errGone   = errors.New("nobody listens any more")
	errSlow   = fmt.Errorf("no answer on %s for %s", contracts.HeaderFlow, flowTimeout)
	errClosed = errors.New("the event store is stopping")
)

// session is one replay.
type session struct {
	server *Server
	to     string
	filter query.Filter
	pace   Pace
	limit  int
	cursor uint64 // the last sequence sent

	inbox  string             // where answers come
	flow   chan string        // the subjects of answers
	gone   chan struct{}      // closed when nobody listens
	count  int                // events sent
	window struct{ n, b int } // sent since the last answer
	turn   int                // answers asked for
}

// run sends everything and then says how it ended.
func (s *session) run(ctx context.Context) {
	err := s.replay(ctx)
	log := s.server.log.With("to", s.to, "events", s.count)
	switch {
	case err == nil:
		err = s.last(contracts.HeaderEnd, strconv.Itoa(s.count))
	case errors.Is(err, errGone):
		log.Debug("replay abandoned by its requester")
		return
	default:
		if ctx.Err() != nil {
			err = errClosed
		}
		text := strings.Join(strings.Fields(err.Error()), " ")
		err = s.last(contracts.HeaderError, fmt.Sprintf("%s; go on from cursor %d", text, s.cursor))
		log.Debug("replay broken off", "because", text)
	}
	if err != nil {
		log.Warn("the end of a replay was not sent", "error", err)
	}
}

func (s *session) last(header, value string) error {
	msg := nats.NewMsg(s.to)
	msg.Header.Set(header, value)
	return errors.Join(s.server.nc.PublishMsg(msg), s.server.nc.FlushTimeout(2*time.Second))
}

// replay sends all pages up to what is stored now.
func (s *session) replay(ctx context.Context) error {
	stop, err := s.listen()
	if err != nil {
		return err
	}
	defer stop()
	end, err := s.server.store.End(ctx)
	if err != nil {
		return err
	}
	for after := s.cursor; end > 0; {
		page, err := s.server.store.Page(ctx, s.filter, query.Ask{After: after, Until: end, Limit: flowEvents, Bytes: flowBytes, Raw: true})
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if s.limit > 0 && s.count == s.limit {
				return nil
			}
			if err := s.send(ctx, e); err != nil {
				return err
			}
		}
		if page.Next == 0 || s.limit > 0 && s.count == s.limit {
			return nil
		}
		after = page.Next
	}
	return nil
}

// listen subscribes to the requester's answers. The server itself answers for
// a requester that has unsubscribed.
func (s *session) listen() (stop func(), err error) {
	s.inbox = s.server.nc.NewInbox()
	s.flow, s.gone = make(chan string, 4), make(chan struct{})
	left := false
	sub, err := s.server.nc.Subscribe(s.inbox+".*", func(m *nats.Msg) {
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			if !left {
				left = true
				close(s.gone)
			}
			return
		}
		select {
		case s.flow <- m.Subject:
		default: // more than was asked for
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen for the requester: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// send sends an event when it is due.
func (s *session) send(ctx context.Context, e query.Stored) error {
	if err := s.await(ctx, e.Record.Time); err != nil {
		return err
	}
	s.window.n++
	s.window.b += len(e.Record.Data)
	full := s.window.n >= flowEvents || s.window.b >= flowBytes
	msg := nats.NewMsg(s.to)
	msg.Data = e.Record.Data
	msg.Reply = s.inbox + ".0"
	msg.Header.Set("Content-Type", contracts.ContentType)
	msg.Header.Set(contracts.HeaderSequence, strconv.FormatUint(e.Record.Sequence, 10))
	if full {
		s.turn++
		msg.Reply = fmt.Sprintf("%s.%d", s.inbox, s.turn)
		msg.Header.Set(contracts.HeaderFlow, msg.Reply)
	}
	if err := s.server.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("send event %s: %w", e.Event.ID, err)
	}
	s.count++
	s.cursor = e.Record.Sequence
	s.server.observer.Replayed()
	if !full {
		return nil
	}
	s.window.n, s.window.b = 0, 0
	return s.answer(ctx, msg.Reply)
}

// await waits until an event stored at an instant is due.
func (s *session) await(ctx context.Context, stored time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.gone:
			return errGone
		default:
		}
		now := time.Now()
		wait := s.pace.Due(stored, now)
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(min(wait, idleEvery))
		select {
		case <-ctx.Done():
		case <-s.gone:
		case <-timer.C:
		}
		timer.Stop()
		if wait <= idleEvery {
			continue
		}
		if err := s.idle(now.Add(wait)); err != nil {
			return err
		}
	}
}

func (s *session) idle(due time.Time) error {
	msg := nats.NewMsg(s.to)
	msg.Reply = s.inbox + ".0"
	msg.Header.Set(contracts.HeaderIdle, due.UTC().Format(time.RFC3339Nano))
	if err := s.server.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("send a sign of life: %w", err)
	}
	return nil
}

// answer waits until the requester says that it has kept up.
func (s *session) answer(ctx context.Context, subject string) error {
	timer := time.NewTimer(flowTimeout)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.gone:
			return errGone
		case <-timer.C:
			return errSlow
		case got := <-s.flow:
			if got == subject {
				return nil
			}
		}
	}
}
