package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a source in memory.
type shelf struct {
	mu     sync.Mutex
	events map[string][]contracts.Event
}

func (s *shelf) put(agent string, ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.events[agent] = append(s.events[agent], contracts.Event{ID: id, Entity: agent})
	}
}

func (s *shelf) Pending(agent string) (contracts.Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events[agent]) == 0 {
		return contracts.Event{}, false
	}
	return s.events[agent][0], true
}

func (s *shelf) Acknowledge(agent, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events[agent]) > 0 && s.events[agent][0].ID == id {
		s.events[agent] = s.events[agent][1:]
	}
}

func TestEventsOfAnAgentStayInOrderThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{events: map[string][]contracts.Event{}}
		var mu sync.Mutex
		stored, tries, up := map[string][]string{}, 0, false
		o := New(s, func(_ context.Context, ev contracts.Event) error {
			mu.Lock()
			defer mu.Unlock()
			tries++
			if !up {
				return errors.New("down")
			}
			stored[ev.Entity] = append(stored[ev.Entity], ev.ID)
			return nil
		}, slog.New(slog.DiscardHandler), nil)
		defer o.Close()

		s.put("a", "1", "2")
		o.Notify("a")
		synctest.Wait()
		if tries != 0 {
			t.Fatal("published before Begin")
		}
		o.Begin()
		for i := range 50 {
			agent := fmt.Sprintf("b%d", i)
			s.put(agent, "x")
			o.Notify(agent)
		}
		<-time.After(time.Minute)
		s.put("a", "3")
		o.Notify("a")
		mu.Lock()
		if o.Waiting() != 51 || tries < 51*50 {
			t.Errorf("%d agents waiting after %d tries", o.Waiting(), tries)
		}
		up = true
		mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := o.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(stored["a"], []string{"1", "2", "3"}) || len(stored) != 51 {
			t.Errorf("stored %v of a, %d agents", stored["a"], len(stored))
		}
	})
}

func TestCloseLeavesTheRestInPlace(t *testing.T) {
	t.Parallel()
	s := &shelf{events: map[string][]contracts.Event{}}
	s.put("a", "1")
	reached := make(chan struct{})
	o := New(s, func(ctx context.Context, _ contracts.Event) error {
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	}, slog.New(slog.DiscardHandler), nil)
	o.Begin()
	o.Notify("a")
	<-reached
	o.Close()
	if _, ok := s.Pending("a"); !ok {
		t.Error("the event is gone")
	}
	o.Notify("a") // harmless
}
