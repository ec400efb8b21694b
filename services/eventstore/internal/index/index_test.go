package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func openMem(t interface {
	Helper()
	Fatal(...any)
}, fs vfs.FS,
) *Pebble {
	t.Helper()
	ix, _, err := Open(Options{Dir: "index", FS: fs, MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// each runs a test against every implementation.
func each(t *testing.T, test func(t *testing.T, ix Index)) {
	t.Run("memory", func(t *testing.T) { test(t, &Memory{}) })
	t.Run("pebble", func(t *testing.T) {
		ix := openMem(t, vfs.NewMem())
		defer func() {
			if err := ix.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, ix)
	})
}

func TestIndexFinds(t *testing.T) {
	each(t, func(t *testing.T, ix Index) {
		must(t, ix.Reset(epoch))
		dup, err := ix.Apply([]Entry{
			{Sequence: 1, ID: "a", Correlation: "a"},
			{Sequence: 3, ID: "b", Correlation: "a", Causation: "a"},
			{Sequence: 4, ID: "c", Correlation: "ab", Causation: "a"},
		}, 7)
		must(t, err)
		if dup != 0 {
			t.Errorf("duplicates = %d", dup)
		}
		want := Position{Stream: epoch, Reached: 7, Anchor: Anchor{Sequence: 4, ID: "c"}}
		if got := ix.Position(); got != want {
			t.Errorf("position = %+v, want %+v", got, want)
		}
		if seq, err := ix.Sequence("b"); seq != 3 || err != nil {
			t.Errorf("b is at %d, %v", seq, err)
		}
		if _, err := ix.Sequence("d"); !errors.Is(err, ErrUnknown) {
			t.Errorf("d: %v", err)
		}
		// "a" is a prefix of "ab": lists must not run into each other.
		sequences(t, "correlated a")(ix.Correlated("a", 0, 10))(1, 3)
		sequences(t, "correlated a after 1")(ix.Correlated("a", 1, 10))(3)
		sequences(t, "correlated a, one")(ix.Correlated("a", 0, 1))(1)
		sequences(t, "correlated nothing")(ix.Correlated("", 0, 10))()
		sequences(t, "caused by a")(ix.Caused("a", 0, 10))(3, 4)
	})
}

func TestIndexKeepsTheFirstOfTwo(t *testing.T) {
	each(t, func(t *testing.T, ix Index) {
		dup, err := ix.Apply([]Entry{{Sequence: 1, ID: "a", Correlation: "x"}, {Sequence: 2, ID: "a", Correlation: "x"}}, 2)
		must(t, err)
		more, err := ix.Apply([]Entry{{Sequence: 3, ID: "a", Correlation: "x"}}, 3)
		must(t, err)
		if dup != 1 || more != 1 {
			t.Errorf("duplicates = %d and %d", dup, more)
		}
		if seq, _ := ix.Sequence("a"); seq != 1 {
			t.Errorf("a is at %d", seq)
		}
		sequences(t, "x")(ix.Correlated("x", 0, 9))(1)
	})
}

func TestIndexRefuses(t *testing.T) {
	long := string(make([]byte, MaxKeyBytes+1))
	for name, entries := range map[string][]Entry{
		"not above reached":   {{Sequence: 5, ID: "b"}},
		"descending":          {{Sequence: 8, ID: "b"}, {Sequence: 7, ID: "c"}},
		"beyond what it says": {{Sequence: 11, ID: "b"}},
		"no id":               {{Sequence: 6}},
		"long correlation":    {{Sequence: 6, ID: "b", Correlation: long}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, ix Index) {
				_, err := ix.Apply([]Entry{{Sequence: 5, ID: "a"}}, 5)
				must(t, err)
				if _, err := ix.Apply(entries, 10); !errors.Is(err, ErrOrder) {
					t.Errorf("error = %v", err)
				}
				if got := ix.Position().Reached; got != 5 {
					t.Errorf("reached = %d after a refused batch", got)
				}
			})
		})
	}
}

func TestIndexMisdated(t *testing.T) {
	each(t, func(t *testing.T, ix Index) {
		at := func(h int) time.Time { return epoch.Add(time.Duration(h) * time.Hour) }
		_, err := ix.Apply([]Entry{
			{Sequence: 1, ID: "a", Misdated: at(9)},
			{Sequence: 2, ID: "b"},
			{Sequence: 3, ID: "c", Misdated: at(-3)},
			{Sequence: 4, ID: "d", Misdated: at(5)},
			{Sequence: 5, ID: "e", Misdated: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)},
		}, 5)
		must(t, err)
		sequences(t, "all")(ix.Misdated(time.Time{}, time.Time{}, 9))(1, 3, 4, 5)
		sequences(t, "from")(ix.Misdated(at(5), time.Time{}, 9))(1, 4)
		sequences(t, "to")(ix.Misdated(time.Time{}, at(5), 9))(3, 5)
		sequences(t, "both")(ix.Misdated(at(-3), at(9), 9))(3, 4)
		if _, err := ix.Misdated(time.Time{}, time.Time{}, 3); !errors.Is(err, ErrTooMany) {
			t.Errorf("error = %v", err)
		}
	})
}

func TestIndexPruneAndReset(t *testing.T) {
	each(t, func(t *testing.T, ix Index) {
		var entries []Entry
		for i := range uint64(3 * pruneBatch) {
			entries = append(entries, Entry{Sequence: i + 1, ID: fmt.Sprint("e", i+1), Correlation: "x", Causation: "y", Misdated: epoch})
		}
		_, err := ix.Apply(entries, 3*pruneBatch)
		must(t, err)
		n, err := ix.Prune(3*pruneBatch - 1)
		must(t, err)
		if n != 3*pruneBatch-2 {
			t.Errorf("removed %d", n)
		}
		if _, err := ix.Sequence("e1"); !errors.Is(err, ErrUnknown) {
			t.Errorf("e1: %v", err)
		}
		for _, list := range [][]uint64{first(ix.Correlated("x", 0, 9)), first(ix.Caused("y", 0, 9)), first(ix.Misdated(epoch, time.Time{}, 9))} {
			sequences(t, "left")(list, nil)(3*pruneBatch-1, 3*pruneBatch)
		}
		must(t, ix.Reset(epoch.Add(1)))
		if got := ix.Position(); got != (Position{Stream: epoch.Add(1)}) {
			t.Errorf("position = %+v", got)
		}
		sequences(t, "after reset")(ix.Correlated("x", 0, 9))()
	})
}

// TestPebbleIsItsDouble drives both implementations with the same steps,
// reopening the one on disk in between; and crashing it, after which it must
// be what it was at some earlier step, and no mixture.
func TestPebbleIsItsDouble(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		ix := openMem(t, fs)
		defer func() { _ = ix.Close() }()
		past := []*Memory{{}}
		ids := rapid.SampledFrom([]string{"a", "b", "ab", "c", "d", "\x00", "a\x00b", ""})
		step := func(change func(Index) error) {
			next := past[len(past)-1].clone()
			errModel, err := change(next), change(ix)
			if (errModel == nil) != (err == nil) {
				t.Fatalf("model says %v, pebble %v", errModel, err)
			}
			past = append(past, next)
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				reached := ix.Position().Reached
				var entries []Entry
				for range rapid.IntRange(0, 5).Draw(t, "n") {
					reached += rapid.Uint64Range(1, 3).Draw(t, "gap")
					e := Entry{Sequence: reached, ID: ids.Draw(t, "id"), Correlation: ids.Draw(t, "corr"), Causation: ids.Draw(t, "cause")}
					if rapid.Bool().Draw(t, "misdated") {
						e.Misdated = epoch.Add(time.Duration(rapid.Int64Range(-5, 5).Draw(t, "at")))
					}
					entries = append(entries, e)
				}
				step(func(ix Index) error { _, err := ix.Apply(entries, reached); return err })
			},
			"prune": func(t *rapid.T) {
				before := rapid.Uint64Range(0, ix.Position().Reached).Draw(t, "before")
				step(func(ix Index) error { _, err := ix.Prune(before); return err })
			},
			"reset": func(t *rapid.T) {
				step(func(ix Index) error { return ix.Reset(epoch) })
			},
			"flush": func(t *rapid.T) { _ = ix.Flush() },
			"reopen": func(t *rapid.T) {
				if err := ix.Close(); err != nil {
					t.Fatal(err)
				}
				ix = openMem(t, fs)
			},
			"crash": func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "kept"), RNG: rng})
				_ = ix.Close()
				fs, ix = crashed, openMem(t, crashed)
				i := slices.IndexFunc(past, func(m *Memory) bool { return differ(m, ix) == "" })
				if i < 0 {
					t.Fatalf("after a crash at %+v it is nothing it ever was", ix.Position())
				}
				past = past[:i+1]
			},
			"": func(t *rapid.T) {
				if d := differ(past[len(past)-1], ix); d != "" {
					t.Fatal(d)
				}
			},
		})
	})
}

// differ says how two indices answer differently, or "".
func differ(a, b Index) string {
	if a.Position() != b.Position() {
		return fmt.Sprintf("position %+v and %+v", a.Position(), b.Position())
	}
	for _, id := range []string{"a", "b", "ab", "c", "d", "\x00", "a\x00b"} {
		sa, ea := a.Sequence(id)
		sb, eb := b.Sequence(id)
		if sa != sb || errors.Is(ea, ErrUnknown) != errors.Is(eb, ErrUnknown) {
			return fmt.Sprintf("%q at %d (%v) and %d (%v)", id, sa, ea, sb, eb)
		}
		if ca, cb := first(a.Correlated(id, 2, 3)), first(b.Correlated(id, 2, 3)); !slices.Equal(ca, cb) {
			return fmt.Sprintf("correlated %q: %v and %v", id, ca, cb)
		}
		if ca, cb := first(a.Caused(id, 0, 9)), first(b.Caused(id, 0, 9)); !slices.Equal(ca, cb) {
			return fmt.Sprintf("caused %q: %v and %v", id, ca, cb)
		}
	}
	if ma, mb := first(a.Misdated(epoch.Add(-2), epoch.Add(3), 1e6)), first(b.Misdated(epoch.Add(-2), epoch.Add(3), 1e6)); !slices.Equal(ma, mb) {
		return fmt.Sprintf("misdated: %v and %v", ma, mb)
	}
	return ""
}

// clone copies the double: its past is what a crash may lead back to.
func (m *Memory) clone() *Memory {
	c := &Memory{position: m.position, entries: slices.Clone(m.entries), byID: make(map[string]uint64)}
	for id, seq := range m.byID {
		c.byID[id] = seq
	}
	return c
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(Entry{ID: "a"}))
	f.Add(encodeEntry(Entry{ID: "a", Correlation: "b", Causation: "c", Misdated: epoch}))
	f.Add([]byte{5, 'a'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decodeEntry(1, raw)
		if err != nil {
			return
		}
		again, err := decodeEntry(1, encodeEntry(e))
		if err != nil || again != e {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

// A position that can be read is one that an index can be at, and is the same
// when it is stored again.
func FuzzDecodePosition(f *testing.F) {
	f.Add([]byte(`{"stream":"2026-01-02T15:04:05.000000001Z","reached":7,"anchor":{"sequence":6,"id":"a"}}`))
	f.Add([]byte(`{"reached":1,"anchor":{"sequence":2}}`))
	f.Add([]byte(`{"reached":-1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := decodePosition(raw)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if p.Anchor.Sequence > p.Reached {
			t.Fatalf("%+v", p)
		}
		stored, err := json.Marshal(p)
		must(t, err)
		again, err := decodePosition(stored)
		if err != nil || !again.Stream.Equal(p.Stream) || again.Reached != p.Reached || again.Anchor != p.Anchor {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func first[T any](v T, _ error) T { return v }

func sequences(t *testing.T, what string) func([]uint64, error) func(...uint64) {
	return func(got []uint64, err error) func(...uint64) {
		return func(want ...uint64) {
			t.Helper()
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v; want %v", what, got, err, want)
			}
		}
	}
}
