package journal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
)

// A log that lost its tail, or all, has no say over a later snapshot, and what
// is decided from then on is not taken for what the snapshot has.
func TestTheLogIsOlderThanTheSnapshot(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]uint64{"tail lost": 1, "emptied": 0} {
		t.Run(name, func(t *testing.T) {
			inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
				before := []*decisionlog.Decision{grown(0, 3), grown(3, 3), grown(6, 3)}
				for i, d := range before {
					d.Cursor = uint64(i)
					j.mustPut(t, d)
				}
				j.mustSave(t, fold(before...), 3)
				if ok, err := j.Current(t.Context(), 0); !ok || err != nil {
					t.Fatalf("current: %t, %v", ok, err)
				}
				natstest.Truncate(t, j.env.JS, keep)
				if ok, err := j.Current(t.Context(), 0); ok || err != nil {
					t.Errorf("whoever decided does not notice: %t, %v", ok, err)
				}

				next, _ := open(t, s, "s2")
				st := next.mustLoad(t)
				if diff := cmp.Diff(fold(before...), st.Tree, cmpopts.EquateEmpty()); diff != "" || next.Number() != 3 || st.Fresh {
					t.Errorf("decision %d, fresh %t, tree (-want +got):\n%.2000s", next.Number(), st.Fresh, diff)
				}
				if st.Cursor != keep {
					t.Errorf("cursor %d; events from %d on would be taken for read", st.Cursor, keep+1)
				}
				if next.Unsaved() == 0 {
					t.Error("no snapshot is due")
				}
				after := grown(9, 1) // a runner was told of decision 40
				after.Number, after.Skipped, after.Cursor = 41, 37, keep+1
				if err := next.Append(t.Context(), after); err != nil {
					t.Fatal(err)
				}
				if next.Number() != 41 {
					t.Errorf("decision %d, want 41", next.Number())
				}

				// A crash comes before the snapshot.
				third, _ := open(t, s, "s3")
				st = third.mustLoad(t)
				if diff := cmp.Diff(fold(append(before, after)...), st.Tree, cmpopts.EquateEmpty()); diff != "" || third.Number() != 41 {
					t.Errorf("decision %d, tree (-want +got):\n%.2000s", third.Number(), diff)
				}
				third.mustPut(t, grown(10, 1))
				var numbers []uint64
				err := third.ReadPast(t.Context(), 0, func(d *decisionlog.Decision) (bool, error) {
					if d.Number == 41 && d.Before() != 3 || d.Number == 42 && d.Before() != 41 {
						t.Errorf("decision %d comes after %d", d.Number, d.Before())
					}
					numbers = append(numbers, d.Number)
					return true, nil
				})
				if err != nil || numbers[len(numbers)-1] != 42 || numbers[len(numbers)-2] != 41 {
					t.Errorf("decisions %v, %v", numbers, err)
				}
			})
		})
	}
}

// A log that was emptied and reaches as far as before by now, with what others wrote,
// is not one that has forgotten what is old: nothing is decided on from there.
func TestEmptiedLogIsFilledByOthers(t *testing.T) {
	inJournal(t, func(t *testing.T, _ *natstest.Server, j *Journal) {
		j.mustPut(t, grown(0, 3))
		natstest.Truncate(t, j.env.JS, 0)
		for range 5 {
			if _, err := j.env.JS.Publish(t.Context(), contracts.EventSubject(contracts.AgentFailed, "somebody"), []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if ok, err := j.Current(t.Context(), 0); ok || err != nil {
			t.Errorf("current: %t, %v", ok, err)
		}
		if err := j.Append(t.Context(), grown(3, 3)); !errors.Is(err, ErrSuperseded) {
			t.Errorf("decided on: %v", err)
		}
	})
}

// A log that has lost an event that was read, and has given its place to another, is
// not decided on: the other would never be read. One that has all that was read is.
func TestEventThatWasReadIsLost(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]uint64{"lost": 1, "kept": 2} {
		t.Run(name, func(t *testing.T) {
			inJournal(t, func(t *testing.T, s *natstest.Server, j *Journal) {
				failed := func() {
					ev, err := j.env.Event(contracts.AgentFailed, "a").JSON([]byte("{}")).Build()
					if err == nil {
						_, err = shell.PublishEvent(t.Context(), j.env.JS, ev)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				j.mustPut(t, grown(0, 1))
				failed()
				ctx, cancel := context.WithCancel(t.Context())
				read := make(chan uint64, 10)
				var following sync.WaitGroup
				following.Go(func() {
					j.Follow(ctx, []string{contracts.EventTypeWildcard(contracts.AgentFailed)}, 0, func(_ jetstream.Msg, place uint64) { read <- place })
				})
				defer following.Wait()
				defer cancel()
				if got := <-read; got != 2 {
					t.Fatalf("read %d, want 2", got)
				}
				natstest.Truncate(t, j.env.JS, kept)
				s.Down()
				synctest.Wait() // the client has seen it
				s.Up(t)
				if err := j.connected(ctx); err != nil {
					t.Fatal(err)
				}
				failed()
				failed()
				if got := <-read; got != 3 {
					t.Fatalf("read %d, want 3: the next after what was read", got)
				}
				want := kept == 2
				if ok, err := j.Current(ctx, 2); ok != want || err != nil {
					t.Errorf("current: %t, %v", ok, err)
				}
				if err := j.put(ctx, grown(1, 1)); (err == nil) != want || err != nil && !errors.Is(err, ErrSuperseded) {
					t.Errorf("decided on: %v", err)
				}
			})
		})
	}
}
