package query

import (
	"context"
	"errors"

	"github.com/mistersmith/mistersmith/internal/chain"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/intake"
)

// Why returns the causal chain of a node's state; known is false when nothing is
// stored about it.
func (s *Store) Why(ctx context.Context, q chain.Question) (reply contracts.WhyReply, known bool, err error) {
	return chain.Why(history{ctx, s}, q)
}

// history is the store as a chain reads it, for one question.
type history struct {
	ctx   context.Context
	store *Store
}

var _ chain.Log = history{}

// Event implements chain.Log.
func (h history) Event(id string) (contracts.StoredEvent, bool, error) {
	found, err := h.store.Get(h.ctx, id)
	if errors.Is(err, ErrUnknown) {
		return contracts.StoredEvent{}, false, nil
	}
	return found.Contract(), err == nil, err
}

// Last implements chain.Log.
func (h history) Last(t contracts.EventType, entity string) (contracts.StoredEvent, bool, error) {
	r, err := h.store.log.Last(h.ctx, contracts.EventSubject(t, entity))
	if errors.Is(err, eventlog.ErrGone) {
		return contracts.StoredEvent{}, false, nil
	}
	if err != nil {
		return contracts.StoredEvent{}, false, err
	}
	if e, err := intake.Decode(r.Subject, r.Data); err == nil {
		return Stored{r, e}.Contract(), true, nil
	}
	// The last message there is no event: look for the one before.
	page, err := h.store.Newest(h.ctx, Filter{types: []contracts.EventType{t}, entity: entity}, Ask{Limit: 1, Bytes: contracts.MaxEventBytes, Raw: true})
	if err != nil || len(page.Events) == 0 {
		return contracts.StoredEvent{}, false, err
	}
	return page.Events[0].Contract(), true, nil
}

// Newest implements chain.Log.
func (h history) Newest(types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error) {
	return h.events(h.store.Newest(h.ctx, Filter{types: types, entity: entity}, Ask{Limit: limit, Bytes: maxStory, Raw: true}))
}

// maxStory bounds how much of the log is held for one question.
const maxStory = 64 << 20

func (h history) events(page Page, err error) ([]contracts.StoredEvent, error) {
	found := make([]contracts.StoredEvent, 0, len(page.Events))
	for _, e := range page.Events {
		found = append(found, e.Contract())
	}
	return found, err
}

// After implements chain.Log.
func (h history) After(seq uint64, types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error) {
	ask := Ask{After: seq, Limit: limit, Bytes: maxStory, Raw: true}
	return h.events(h.store.Page(h.ctx, Filter{types: types, entity: entity}, ask))
}
