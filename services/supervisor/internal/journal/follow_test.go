package journal

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestFollow: messages come in the log's order and each once, also after an outage.
func TestFollow(t *testing.T) {
	inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
		j.mustPut(t, grown(0, 1), grown(1, 1))
		ctx, cancel := context.WithCancel(t.Context())
		places, ended := make(chan uint64), make(chan struct{})
		go func() {
			defer close(ended)
			j.Follow(ctx, []string{contracts.TreeWildcard("main")}, 1, func(_ jetstream.Msg, place uint64) { places <- place })
		}()
		next := func(want uint64) {
			t.Helper()
			select {
			case got := <-places:
				if got != want {
					t.Fatalf("message %d, want %d", got, want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("message %d does not come", want)
			}
		}
		next(2)
		s.Down()
		<-time.After(20 * time.Second) // heartbeats of the consumer are missed
		s.Up(t)
		j.mustPut(t, grown(2, 1))
		next(3)
		cancel()
		select {
		case <-ended:
		case <-time.After(time.Second):
			t.Error("it goes on after its context has ended")
		}
	})
}
