package history

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// shortLog is a log with some decisions, and a snapshot after the second.
type shortLog []*decisionlog.Decision

func (l shortLog) LastSnapshot(context.Context) (t tree.Snapshot, number, sequence uint64, err error) {
	return tree.Snapshot{}, l[1].Number, l[1].Sequence, nil
}

func (l shortLog) ReadPast(_ context.Context, after uint64, each func(*decisionlog.Decision) (bool, error)) error {
	for _, p := range l {
		if p.Sequence <= after {
			continue
		}
		if more, err := each(p); err != nil || !more {
			return err
		}
	}
	return nil
}

// FuzzMoments: whatever moments are asked for, what is shown is the last
// decision by then, what lies between them is what is decided in that time, and
// there is a reason where nothing is.
func FuzzMoments(f *testing.F) {
	f.Add([]byte(`{"node":"web","from":{"at":"2026-03-01T12:00:01Z"},"to":{"sequence":30}}`))
	f.Add([]byte(`{"from":{"sequence":20},"to":{"at":"9999-12-31T23:59:59Z"}}`))
	f.Add([]byte(`{"from":{"at":"0001-01-01T00:00:00Z"},"to":{"at":"2026-03-01T13:00:02.5+01:00"}}`))
	f.Add([]byte(`{"from":{"sequence":18446744073709551615},"to":{"at":null,"sequence":11}}`))
	f.Add([]byte(`{"from":{"sequence":40,"at":"2026-03-01T12:00:01Z"},"to":{}}`))
	f.Add([]byte(`{}`))
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var log shortLog
	for i := range uint64(4) {
		log = append(log, &decisionlog.Decision{
			Number: i + 1, At: tree.Instant(noon.Add(time.Duration(i) * time.Second).UnixNano()), First: 10*i + 10, Sequence: 10*i + 11,
		})
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var req contracts.DiffRequest
		if json.Unmarshal(body, &req) != nil {
			return
		}
		for _, m := range []contracts.Moment{req.From, req.To} {
			var last uint64
			for _, p := range log {
				if by(p, m) {
					last = p.Number
				}
			}
			st, err := At(t.Context(), log, m)
			if last == 0 && !errors.Is(err, ErrNothing) || last > 0 && (err != nil || st.Mark.Decision != last) {
				t.Fatalf("at %+v: decision %d, %v; want %d", m, st.Mark.Decision, err, last)
			}
		}
		st, past, end, err := Between(t.Context(), log, req.From, req.To)
		if err != nil {
			if !errors.Is(err, ErrOrder) {
				t.Fatalf("%+v: %v", req, err)
			}
			return
		}
		next := st.Mark.Decision
		for _, p := range past {
			if next++; p.Number != next || !by(p, req.To) || !req.From.IsZero() && by(p, req.From) {
				t.Fatalf("%+v: decision %d after %d", req, p.Number, st.Mark.Decision)
			}
		}
		if end.Decision != next {
			t.Fatalf("%+v: it ends with decision %d, want %d", req, end.Decision, next)
		}
	})
}
