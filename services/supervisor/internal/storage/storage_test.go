package storage

import (
	"errors"
	"testing"
	"time"
)

func TestTrouble(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	var w Watch
	check := func(when float64, want bool, work Work) {
		t.Helper()
		got, troubled := w.Trouble(at(when))
		if troubled != want || want && got.Work != work {
			t.Errorf("after %g s: %v, %s, want %v, %s", when, troubled, got.Work, want, work)
		}
	}
	check(0, false, 0)
	w.Begin(Append, at(1))
	w.Begin(Append, at(2)) // a repetition is the same attempt
	check(3, false, 0)
	check(3.1, true, Append)
	w.Begin(Renew, at(0.5))
	check(3.1, true, Renew)
	w.Done(Renew)
	w.Done(Append)
	check(99, false, 0)
	w.Begin(Read, at(100))
	check(103, true, Read)
	w.Failed(Read, errors.New("no space"))
	if got, _ := w.Trouble(at(103)); got.Why != "no space" {
		t.Errorf("the reason is %q", got.Why)
	}
	w.Done(Read)
	w.Begin(Read, at(200))
	if got, troubled := w.Trouble(at(203)); got.Why != "" || !troubled {
		t.Errorf("a later trouble has the reason of a former one: %+v", got)
	}
}

// TestHopeless: what cannot be stored for a minute while the server answers ends
// the process; an outage of the server does not.
func TestHopeless(t *testing.T) {
	begin := time.Unix(1000, 0)
	trouble := Trouble{Work: Append, Since: begin}
	for _, c := range []struct {
		now, connected time.Duration
		want           bool
	}{
		{time.Minute, -time.Hour, false},
		{time.Minute + 1, -time.Hour, true},
		{time.Hour, time.Hour - time.Second, false},
		{2 * time.Minute, 50 * time.Second, true},
	} {
		if got := trouble.Hopeless(begin.Add(c.now), begin.Add(c.connected)); got != c.want {
			t.Errorf("after %s, connected after %s: %v", c.now, c.connected, got)
		}
	}
}
