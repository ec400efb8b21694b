package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/query"
)

// MaxSessions is how many replays run at once; more are refused.
const MaxSessions = 16

// Observer is told what is replayed, for metrics.
type Observer interface {
	// Replaying is called with 1 when a replay begins and -1 when it ends.
	Replaying(change int)
	// Replayed is called for each event sent.
	Replayed()
}

// Server serves replays. Each runs by itself until its end, until its requester
// unsubscribes or stops answering, or until Close.
type Server struct {
	nc       *nats.Conn
	store    *query.Store
	log      *slog.Logger
	observer Observer

	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	mu     sync.Mutex // guards closed and running.Add
	closed bool
	all    sync.WaitGroup
}

// NewServer makes a Server that sends on nc.
func NewServer(nc *nats.Conn, store *query.Store, o Observer, log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{nc: nc, store: store, log: log, observer: o, ctx: ctx, cancel: cancel, slots: make(chan struct{}, MaxSessions)}
}

// Close ends all replays, each with a word to its requester, and waits for
// them.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.all.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("replays still running: %w", ctx.Err())
	}
}

// Handle begins the replay that a request asks for. It does not block.
func (s *Server) Handle(r micro.Request) error {
	job, err := s.prepare(r)
	if err != nil {
		return err
	}
	return s.begin(job)
}

// prepare reads a request.
func (s *Server) prepare(r micro.Request) (*session, error) {
	job, err := decode(r.Data())
	if err != nil {
		return nil, shell.Errorf(contracts.CodeBadRequest, "%s: %v", r.Subject(), err)
	}
	job.server, job.to = s, r.Reply()
	return job, nil
}

// decode reads what is to be replayed, and tells in one line all that is wrong
// with it.
func decode(body []byte) (*session, error) {
	var req contracts.ReplayRequest
	if len(body) > 0 {
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, fmt.Errorf("the request is not the JSON expected: %w", err)
		}
	}
	filter, err := query.NewFilter(req.EventFilter)
	pace, paceErr := NewPace(req.Speed)
	err = errors.Join(err, paceErr)
	if req.Limit < 0 {
		err = errors.Join(err, fmt.Errorf("limit: %d is negative; use 0 for all", req.Limit))
	}
	if err != nil {
		return nil, errors.New(shell.OneLine(err.Error()))
	}
	return &session{filter: filter, pace: pace, limit: req.Limit, cursor: req.Cursor}, nil
}

// begin runs a session by itself.
func (s *Server) begin(job *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return shell.Errorf(contracts.CodeNotReady, "the event store is stopping; try again")
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return shell.Errorf(contracts.CodeNotReady, "%d replays are running, which is the most; try again later", MaxSessions)
	}
	s.all.Add(1)
	s.observer.Replaying(1)
	go func() {
		defer s.all.Done()
		defer func() { <-s.slots }()
		defer s.observer.Replaying(-1)
		job.run(s.ctx)
	}()
	return nil
}
