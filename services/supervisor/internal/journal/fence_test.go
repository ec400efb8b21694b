package journal

import (
	"context"
	"errors"
	"testing"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// forget makes the log forget all that it has, as after a long time.
func (j *Journal) forget(t *testing.T) {
	t.Helper()
	natstest.Streams(t, j.env.JS) // expires all, see open
	if last, err := j.lastMessage(t.Context()); last != nil || err != nil {
		t.Fatalf("the log still has %v, %v", last, err)
	}
}

// others store an event that is not about the tree.
func (j *Journal) others(t *testing.T) {
	t.Helper()
	ev, err := j.env.Event(contracts.AgentFailed, "a").Data(contracts.AgentFailedData{Agent: "a", Incarnation: 1, Reason: contracts.ReasonExited}).Build()
	if err == nil {
		_, err = shell.PublishEvent(t.Context(), j.env.JS, ev)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestForgottenRival: a supervisor that was paused for longer than the log keeps what
// its rival has decided is kept out by the lease, and by the log's end where the rival
// takes that afterwards.
func TestForgottenRival(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, a, b *Journal) error{
		"it decided before the lease is asked for": func(t *testing.T, a, b *Journal) error {
			b.mustPut(t, grown(1, 1))
			b.forget(t)
			a.Prove = func(context.Context) error { return ErrSuperseded }
			if current, err := a.Current(t.Context(), 0); current || err != nil {
				t.Errorf("it takes itself for current: %v", err)
			}
			return a.put(t.Context(), grown(1, 1))
		},
		"it decides after that": func(t *testing.T, a, b *Journal) error {
			a.forget(t)
			asked := 0
			a.Prove = func(context.Context) error {
				if asked++; asked == 1 {
					b.mustPut(t, grown(1, 1)) // and a is paused again
					b.forget(t)
					return nil
				}
				return ErrSuperseded
			}
			return a.put(t.Context(), grown(1, 1))
		},
		"and the log has all of it": func(t *testing.T, a, b *Journal) error {
			a.forget(t)
			a.Prove = func(context.Context) error { return nil }
			b.mustPut(t, grown(1, 1))
			return a.put(t.Context(), grown(1, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				s := natstest.Start(t)
				a, _ := open(t, s, "a")
				b, _ := open(t, s, "b")
				a.mustLoad(t)
				a.mustPut(t, grown(0, 1))
				b.mustLoad(t)
				if err := test(t, a, b); !errors.Is(err, ErrSuperseded) {
					t.Errorf("it decides: %v", err)
				}
				if n := b.Number(); n != 2 {
					t.Errorf("decision %d", n)
				}
			})
		})
	}
}

// TestOthersStoreMeanwhile: what others store does not keep a supervisor from deciding
// that has the lease, nor does a lease that cannot be asked for now.
func TestOthersStoreMeanwhile(t *testing.T) {
	inJournal(t, func(t *testing.T, _ *natstest.Server, j *Journal) {
		j.mustPut(t, grown(0, 1))
		j.forget(t)
		asked := 0
		j.Prove = func(context.Context) error {
			if asked++; asked < 4 {
				j.others(t)
			}
			if asked == 2 {
				return context.DeadlineExceeded
			}
			return nil
		}
		if err := j.put(t.Context(), grown(1, 1)); err != nil || asked != 4 {
			t.Errorf("asked for the lease %d times: %v", asked, err)
		}
		if err := j.put(t.Context(), grown(2, 1)); err != nil || asked != 4 {
			t.Errorf("asked for the lease again, though the log has the last decision: %v", err)
		}
	})
}
