// Package api serves smith.eventstore.*: it turns requests into questions to
// the store, and its errors into codes.
package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/chain"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/indexer"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/query"
)

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
	// envelope is what a reply needs beside its events.
	envelope = 4 << 10
)

// Service answers requests.
type Service struct {
	Store   *query.Store
	Log     *eventlog.Log
	Indexer *indexer.Indexer
	Dead    jetstream.JetStream
	Guard   *guard.Guard
	// MaxPayload is how large a reply may be.
	MaxPayload int64
	// Observe is told how long a request took, and its code or "ok".
	Observe func(verb, outcome string, took time.Duration)
	// Replay serves smith.eventstore.replay.
	Replay func(micro.Request) error
}

// Serve adds the endpoints.
func (s *Service) Serve(a *shell.API) error {
	return errors.Join(
		shell.Handle(a, "query", observed(s, "query", s.query)),
		shell.Handle(a, "get", observed(s, "get", s.get)),
		shell.Handle(a, "correlation", observed(s, "correlation", s.correlation)),
		shell.Handle(a, "why", observed(s, "why", s.why)),
		shell.Handle(a, "stats", observed(s, "stats", s.stats)),
		a.HandleRaw("replay", s.Replay),
	)
}

// observed measures a handler, and gives its errors their codes.
func observed[Req, Resp any](s *Service, verb string, serve func(context.Context, Req) (Resp, error)) func(context.Context, Req) (Resp, error) {
	return func(ctx context.Context, req Req) (Resp, error) {
		begin := time.Now()
		resp, err := serve(ctx, req)
		err = coded(err)
		outcome := "ok"
		var known *shell.APIError
		if errors.As(err, &known) {
			outcome = known.Code
		} else if err != nil {
			outcome = contracts.CodeInternal
		}
		s.Observe(verb, outcome, time.Since(begin))
		return resp, err
	}
}

// codes are the answers to errors, the first that fits.
var codes = []struct {
	is   error
	code string
}{
	{query.ErrFilter, contracts.CodeBadRequest},
	{contracts.ErrInvalidID, contracts.CodeBadRequest},
	{index.ErrTooMany, contracts.CodeBadRequest},
	{query.ErrUnknown, contracts.CodeNotFound},
	{query.ErrTooLarge, contracts.CodeTooLarge},
	{indexer.ErrBehind, contracts.CodeNotReady},
	{index.ErrCorrupt, contracts.CodeNotReady},
	{eventlog.ErrDisconnected, contracts.CodeNotReady},
	{eventlog.ErrNoStream, contracts.CodeNotReady},
	{guard.ErrTimeout, contracts.CodeNotReady},
	{context.DeadlineExceeded, contracts.CodeNotReady},
	{context.Canceled, contracts.CodeNotReady},
}

func coded(err error) error {
	var known *shell.APIError
	if err == nil || errors.As(err, &known) {
		return err
	}
	text := shell.OneLine(err.Error())
	for _, c := range codes {
		if errors.Is(err, c.is) {
			return shell.Errorf(c.code, "%s", text)
		}
	}
	if guard.Rejected(err) {
		return shell.Errorf(contracts.CodeNotReady, "the event stream cannot be asked now: %s", text)
	}
	return err
}

func (s *Service) query(ctx context.Context, r contracts.QueryRequest) (contracts.EventsReply, error) {
	f, err := query.NewFilter(r.EventFilter)
	if err != nil {
		return contracts.EventsReply{}, err
	}
	ask, err := s.ask(r.Cursor, r.Limit)
	if err != nil {
		return contracts.EventsReply{}, err
	}
	if !r.Last {
		return reply(s.Store.Page(ctx, f, ask))
	}
	if r.Cursor != 0 {
		return contracts.EventsReply{}, shell.Errorf(contracts.CodeBadRequest, "last: has no pages; leave the cursor out")
	}
	return reply(s.Store.Newest(ctx, f, ask))
}

func (s *Service) correlation(ctx context.Context, r contracts.CorrelationRequest) (contracts.EventsReply, error) {
	f, err := query.NewFilter(contracts.EventFilter{Correlations: []string{r.ID}})
	if err != nil {
		return contracts.EventsReply{}, err
	}
	ask, err := s.ask(r.Cursor, r.Limit)
	if err != nil {
		return contracts.EventsReply{}, err
	}
	return reply(s.Store.Page(ctx, f, ask))
}

func (s *Service) ask(cursor uint64, limit int) (query.Ask, error) {
	if limit < 0 || limit > maxLimit {
		return query.Ask{}, shell.Errorf(contracts.CodeBadRequest, "limit: %d is outside 1 to %d", limit, maxLimit)
	}
	if limit == 0 {
		limit = defaultLimit
	}
	return query.Ask{After: cursor, Limit: limit, Bytes: int(s.MaxPayload) - envelope}, nil
}

func reply(p query.Page, err error) (contracts.EventsReply, error) {
	out := contracts.EventsReply{Events: make([]contracts.StoredEvent, 0, len(p.Events)), Next: p.Next}
	for _, e := range p.Events {
		out.Events = append(out.Events, e.Contract())
	}
	return out, err
}

func (s *Service) get(ctx context.Context, r contracts.EventRequest) (contracts.StoredEvent, error) {
	if uuid.Validate(r.ID) != nil || len(r.ID) != 36 {
		return contracts.StoredEvent{}, shell.Errorf(contracts.CodeBadRequest, "id: %.80q is not an event's id, which is a UUID", r.ID)
	}
	found, err := s.Store.Get(ctx, r.ID)
	if err != nil {
		return contracts.StoredEvent{}, err
	}
	return found.Contract(), s.Store.Fits(found, int(s.MaxPayload)-envelope)
}

func (s *Service) why(ctx context.Context, r contracts.WhyRequest) (contracts.WhyReply, error) {
	q, err := question(r)
	if err != nil {
		return contracts.WhyReply{}, err
	}
	found, known, err := s.Store.Why(ctx, q)
	if err == nil && !known {
		err = shell.Errorf(contracts.CodeNotFound, "%s: %s", r.Agent, found.Note)
	}
	return found, err
}

// question reads what is asked for.
func question(r contracts.WhyRequest) (chain.Question, error) {
	if err := contracts.ValidateID(r.Agent); err != nil {
		return chain.Question{}, fmt.Errorf("agent: %w", err)
	}
	if r.Tree != "" {
		if err := contracts.ValidateID(r.Tree); err != nil {
			return chain.Question{}, fmt.Errorf("tree: %w", err)
		}
	}
	for _, id := range [][2]string{{"cause", r.Cause}, {"decision", r.Decision}} {
		if id[1] != "" && (uuid.Validate(id[1]) != nil || len(id[1]) != 36) {
			return chain.Question{}, shell.Errorf(contracts.CodeBadRequest, "%s: %.80q is not an event's id, which is a UUID", id[0], id[1])
		}
	}
	if len(r.Chain) > 128 {
		return chain.Question{}, shell.Errorf(contracts.CodeBadRequest, "chain: %d bytes; at most 128", len(r.Chain))
	}
	q := chain.Question{
		Node: r.Agent, Tree: r.Tree, Incarnation: r.Incarnation, Up: r.Up,
		Cause: r.Cause, Chain: r.Chain, Decision: r.Decision,
	}
	if r.Since != nil {
		q.Since = *r.Since
	}
	return q, nil
}

func (s *Service) stats(ctx context.Context, _ struct{}) (contracts.StoreStats, error) {
	state, err := s.Log.State(ctx)
	if err != nil {
		return contracts.StoreStats{}, err
	}
	out := contracts.StoreStats{
		Events: state.Messages, Bytes: state.Bytes, FirstSequence: state.First, LastSequence: state.Last,
		Indexed: s.Indexer.Position().Reached,
	}
	if state.Messages > 0 {
		out.Oldest, out.Newest = &state.FirstTime, &state.LastTime
	}
	out.Rejected, err = s.rejected(ctx)
	return out, err
}

// rejected counts the messages that were set aside.
func (s *Service) rejected(ctx context.Context) (uint64, error) {
	return guard.Do(ctx, s.Guard, "dead", func(ctx context.Context) (n uint64, err error) {
		stream, err := s.Dead.Stream(ctx, contracts.DeadStream)
		if err != nil {
			return 0, fmt.Errorf("stream %s: %w", contracts.DeadStream, err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(contracts.DeadEventSubject("*")))
		if err != nil {
			return 0, fmt.Errorf("stream %s: %w", contracts.DeadStream, err)
		}
		for _, count := range info.State.Subjects {
			n += count
		}
		return n, nil
	})
}
