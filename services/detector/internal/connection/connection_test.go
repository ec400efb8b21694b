package connection

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

func conn(id uint64) Conn { return Conn{Name: "smith.heartbeat.a", Server: "S", ID: id} }

func TestLoss(t *testing.T) {
	const grace = 500 * time.Millisecond
	for name, c := range map[string]struct {
		do   func(b *Book)
		want int
	}{
		"lost":                             {func(b *Book) { b.Closed(0, "a", 1, "S", 1, grace) }, 1},
		"lost without having been known":   {func(b *Book) { b.Closed(0, "b", 1, "S", 9, grace) }, 1},
		"back in time":                     {func(b *Book) { b.Closed(0, "a", 1, "S", 1, grace); b.Opened("a", 1, conn(2)) }, 0},
		"back before the loss was noticed": {func(b *Book) { b.Opened("a", 1, conn(2)); b.Closed(0, "a", 1, "S", 1, grace) }, 0},
		"another life came":                {func(b *Book) { b.Closed(0, "a", 1, "S", 1, grace); b.Opened("a", 2, conn(2)) }, 0},
		"only an older life is back":       {func(b *Book) { b.Closed(0, "a", 2, "S", 1, grace); b.Opened("a", 1, conn(2)) }, 1},
		"lost twice":                       {func(b *Book) { b.Closed(0, "a", 1, "S", 1, grace); b.Closed(1, "a", 1, "S", 1, grace) }, 1},
		"forgotten":                        {func(b *Book) { b.Closed(0, "a", 1, "S", 1, grace); b.Reset() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := New(10)
			b.Opened("a", 1, conn(1))
			c.do(b)
			if got := b.Due(grace - 1); len(got) > 0 {
				t.Errorf("before the grace: %+v", got)
			}
			if got := b.Due(grace + 1); len(got) != c.want {
				t.Errorf("%+v, want %d", got, c.want)
			}
			if got := b.Due(time.Hour); len(got) > 0 {
				t.Errorf("again: %+v", got)
			}
		})
	}
}

// However many ids come, the book stays within its limit, and each loss is told
// once.
func TestBookIsBounded(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		b := New(5)
		now := Instant(0)
		losses := 0
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			agent := fmt.Sprint("a", rapid.IntRange(0, 20).Draw(t, "agent"))
			inc := uint64(rapid.IntRange(0, 3).Draw(t, "incarnation"))
			id := uint64(rapid.IntRange(0, 10).Draw(t, "id"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				b.Opened(agent, inc, conn(id))
			case 2:
				b.Closed(now, agent, inc, "S", id, time.Second)
				losses++
			case 3:
				now += time.Duration(i) * 100 * time.Millisecond
				losses -= len(b.Due(now))
			}
			if len(b.open) > 5 || len(b.lost) > 5 || len(b.Of(agent)) > mostOpen || losses < 0 {
				t.Fatalf("%d agents, %d losses pending, %d connections; %d told too many", len(b.open), len(b.lost), len(b.Of(agent)), -losses)
			}
		}
		b.Due(now + time.Hour)
		if len(b.lost) > 0 || len(b.due) > 0 {
			t.Fatalf("left: %v", b.lost)
		}
	})
}

// numbers feeds heartbeats' numbers and counts the conflicts told.
func numbers(r *Rivals, seqs ...uint64) (told int) {
	last := uint64(0)
	for i, s := range seqs {
		if last != 0 && s <= last && r.WentBack(Instant(i)*time.Second, "a", 1, s, last) {
			told++
		}
		last = s
	}
	return told
}

func TestRivals(t *testing.T) {
	for name, c := range map[string]struct {
		seqs []uint64
		want int
	}{
		"one":                     {[]uint64{1, 2, 3, 4, 5, 6, 7}, 0},
		"restarts":                {[]uint64{1, 2, 3, 1, 2, 1, 2, 3, 4, 1, 2, 3, 1, 2}, 0},
		"does not count":          {[]uint64{7, 7, 7, 7, 7, 7, 7, 7}, 0},
		"two":                     {[]uint64{100, 1, 101, 2, 102, 3, 103, 4, 104, 5}, 1},
		"two that began together": {[]uint64{1, 1, 2, 2, 3, 3, 4, 4}, 1},
		"three":                   {[]uint64{100, 50, 1, 101, 51, 2, 102, 52, 3, 103, 53, 4, 104, 54, 5}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := numbers(NewRivals(10), c.seqs...); got != c.want {
				t.Errorf("told %d times, want %d", got, c.want)
			}
		})
	}
	r := NewRivals(3)
	for i := range 100 {
		r.WentBack(0, fmt.Sprint("a", i), 1, 1, 2)
	}
	if len(r.seen) != 3 {
		t.Errorf("%d remembered", len(r.seen))
	}
	if r.WentBack(time.Hour, "late", 1, 1, 2); len(r.seen) != 1 {
		t.Errorf("%d remembered after an hour", len(r.seen))
	}
}
