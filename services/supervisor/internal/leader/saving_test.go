package leader

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func TestSnapshotDue(t *testing.T) {
	t.Parallel()
	const now = tree.Instant(1_700_000_000_000_000_000)
	ago := func(d time.Duration) tree.Instant { return now.Add(-d) }
	month, short := Retention{MaxAge: 30 * 24 * time.Hour}, Retention{MaxAge: 2 * time.Minute}
	small := Retention{MaxBytes: 1 << 20, Bytes: 1 << 20, FirstSeq: 1000, LastSeq: 2000}
	for _, c := range []struct {
		name string
		u    Unsaved
		log  Retention
		want bool
	}{
		{"nothing is unsaved", Unsaved{Ordered: ago(time.Hour), Since: ago(time.Hour)}, month, false},
		{"just decided", Unsaved{Decisions: 1, Changes: 1, Nodes: 10, Since: ago(time.Second)}, month, false},
		{"a minute ago", Unsaved{Decisions: 1, Changes: 1, Nodes: 10, Since: ago(time.Minute)}, month, true},
		{"a minute ago in a large tree", Unsaved{Decisions: 1, Changes: 1, Nodes: 100_000, Since: ago(time.Minute)}, month, false},
		{"ten minutes ago in a large tree", Unsaved{Decisions: 1, Changes: 1, Nodes: 100_000, Since: ago(10 * time.Minute)}, month, true},
		{"many decisions", Unsaved{Decisions: 1000, Changes: 1000, Nodes: 100, Since: ago(time.Second)}, month, true},
		{"many decisions, a small share of the tree", Unsaved{Decisions: 1000, Changes: 1000, Nodes: 100_000, Since: ago(time.Second)}, month, false},
		{"ordered just now", Unsaved{Decisions: 1, Nodes: 10, Since: ago(time.Second), Ordered: ago(time.Second / 2)}, month, false},
		{"ordered", Unsaved{Decisions: 1, Nodes: 10, Since: ago(2 * time.Second), Ordered: ago(2 * time.Second)}, month, true},
		{"ordered in a large tree", Unsaved{Decisions: 1, Nodes: 100_000, Since: ago(2 * time.Second), Ordered: ago(2 * time.Second)}, month, false},
		{"ordered in a large tree a while ago", Unsaved{Decisions: 1, Nodes: 100_000, Since: ago(12 * time.Second), Ordered: ago(12 * time.Second)}, month, true},
		{"ordered, and the log is short", Unsaved{Decisions: 1, Nodes: 10, Since: now, Ordered: now}, short, true},
		{"forgotten soon by age", Unsaved{Decisions: 1, Nodes: 100_000, Since: ago(time.Minute)}, short, true},
		{"in the newer half of a full log", Unsaved{Decisions: 1, Nodes: 100_000, First: 1600, Since: ago(time.Second)}, small, false},
		{"in the older half of a full log", Unsaved{Decisions: 1, Nodes: 100_000, First: 1400, Since: ago(time.Second)}, small, true},
		{"forgotten", Unsaved{Decisions: 1, Nodes: 100_000, First: 400, Since: ago(time.Second)}, small, true},
		{"a log that is not full", Unsaved{Decisions: 1, Nodes: 100_000, First: 1400, Since: ago(time.Second)}, Retention{MaxBytes: 1 << 40, Bytes: 1 << 20, FirstSeq: 1000, LastSeq: 2000}, false},
		{"a full log by number", Unsaved{Decisions: 1, Nodes: 100_000, First: 1400, Since: ago(time.Second)}, Retention{MaxMsgs: 1 << 20, Msgs: 1 << 20, FirstSeq: 1000, LastSeq: 2000}, true},
	} {
		if got := c.u.SnapshotDue(now, 1000, c.log); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestSnapshotBeforeForgetting: whatever the bounds of a log, a snapshot is due
// before half of the time is over that it keeps a decision, and an order is never
// in the log only for more than a second and what its tree's size adds.
func TestSnapshotBeforeForgetting(t *testing.T) {
	t.Parallel()
	property.Check(t, func(t *rapid.T) {
		since := tree.Instant(1_700_000_000_000_000_000)
		age := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "age"))
		u := Unsaved{Decisions: 1, Nodes: rapid.IntRange(1, 200_000).Draw(t, "nodes"), Since: since, First: 1}
		log := Retention{MaxAge: time.Duration(rapid.Int64Range(int64(2*time.Minute), int64(24*time.Hour)).Draw(t, "max_age"))}
		if now := since.Add(age); age >= log.MaxAge/2 && !u.SnapshotDue(now, 1000, log) {
			t.Fatalf("not due after %s of %s", age, log.MaxAge)
		}
		u.Ordered = since
		if now := since.Add(age); age >= collectOrders+time.Duration(u.Nodes)*collectPerNode && !u.SnapshotDue(now, 1000, log) {
			t.Fatalf("an order is not stored after %s in a tree of %d", age, u.Nodes)
		}
	})
}
