package leader

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// TestAppend: whatever answers are lost, each message is in the log once, in
// order, and none after somebody else's.
func TestAppend(t *testing.T) {
	t.Parallel()
	property.Check(t, func(t *rapid.T) {
		type stored struct {
			id   string
			part int
		}
		var log []stored
		last := func() (uint64, string) {
			if len(log) == 0 {
				return 0, ""
			}
			return uint64(len(log)), log[len(log)-1].id
		}
		parts := rapid.IntRange(1, 4).Draw(t, "parts")
		rival := rapid.IntRange(-1, 8).Draw(t, "the rival appends at try")
		a := NewAppend("d", parts, 0)
		outcome := "stored"
		for try := 0; ; try++ {
			m, more := a.Next()
			if !more {
				break
			}
			if try == rival {
				log = append(log, stored{"rival", 0})
			}
			at, id := last()
			if at == m.Follow {
				log = append(log, stored{m.ID, m.Part})
				if rapid.Bool().Draw(t, "the answer is lost") {
					continue
				}
				a.Stored(uint64(len(log)))
				continue
			}
			if a.Refused(at, id, at) == Superseded {
				outcome = "superseded"
				break
			}
		}
		own := slices.DeleteFunc(slices.Clone(log), func(s stored) bool { return s.id == "rival" })
		for i, s := range own {
			if s.part != i || s.id != PartID("d", i) {
				t.Fatalf("the log has %v", log)
			}
		}
		if (outcome == "stored") != (len(own) == parts && log[len(log)-1].id != "rival") && outcome == "stored" {
			t.Fatalf("said to be stored: %v of %d", log, parts)
		}
		if outcome == "superseded" && !slices.ContainsFunc(log, func(s stored) bool { return s.id == "rival" }) {
			t.Fatalf("superseded by nobody: %v", log)
		}
	})
}

// TestForgotten: a log that has outlived the tree's last message takes the next
// one as if it were the first.
func TestForgotten(t *testing.T) {
	t.Parallel()
	a := NewAppend("d", 1, 41)
	if r := a.Refused(0, "", 42); r != Forgotten {
		t.Fatalf("refusal %d", r)
	}
	if m, more := a.Next(); !more || m.Follow != 0 || m.ID != "d" {
		t.Errorf("next is %+v, %t", m, more)
	}
	if r := a.Refused(0, "", 42); r != Forgotten {
		t.Errorf("others have stored something: %d", r)
	}
	if r := a.Refused(50, "rival", 42); r != Superseded {
		t.Errorf("another has decided: %d", r)
	}
}

// TestLogLostItsTail: a log that begins before the tree's last message and does not
// have it has lost it, however far it reaches by now.
func TestLogLostItsTail(t *testing.T) {
	t.Parallel()
	a := NewAppend("d", 1, 41)
	if r := a.Refused(0, "", 1); r != Superseded {
		t.Errorf("refusal %d", r)
	}
}

// TestFold: decisions count when they are whole; what is left of one that never
// was is dropped.
func TestFold(t *testing.T) {
	t.Parallel()
	var f Fold[int]
	for i, step := range []struct {
		id   string
		more bool
		want []int
	}{
		{"a", false, []int{0}},
		{"b", true, nil},
		{PartID("b", 1), true, nil},
		{PartID("b", 2), false, []int{1, 2, 3}},
		{"c", true, nil}, // never completed
		{"d", true, nil},
		{PartID("d", 1), false, []int{5, 6}},
		{"e", true, nil},
		{"f", false, []int{8}},
	} {
		if got := f.Add(step.id, i, step.more); !slices.Equal(got, step.want) {
			t.Errorf("message %d (%s): %v, want %v", i, step.id, got, step.want)
		}
	}
}
