package index

import (
	"fmt"
	"path/filepath"
	"testing"
)

func entriesFrom(first uint64, n int) []Entry {
	out := make([]Entry, n)
	for i := range out {
		seq := first + uint64(i)
		out[i] = Entry{Sequence: seq, ID: fmt.Sprintf("0197d1a2-%020d", seq), Correlation: fmt.Sprintf("0197d1a2-%020d", seq/5), Causation: fmt.Sprintf("0197d1a2-%020d", seq-1)}
	}
	return out
}

// BenchmarkApply measures events indexed, in batches as the indexer's.
func BenchmarkApply(b *testing.B) {
	ix, _, err := Open(Options{Dir: filepath.Join(b.TempDir(), "index")})
	if err != nil {
		b.Fatal(err)
	}
	defer ix.Close()
	const batch = 512
	events := 0
	for b.Loop() {
		if _, err := ix.Apply(entriesFrom(uint64(events+1), batch), uint64(events+batch)); err != nil {
			b.Fatal(err)
		}
		events += batch
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkSequence measures the finding of an id among 200,000.
func BenchmarkSequence(b *testing.B) {
	ix, _, err := Open(Options{Dir: filepath.Join(b.TempDir(), "index")})
	if err != nil {
		b.Fatal(err)
	}
	defer ix.Close()
	const events = 200_000
	for first := uint64(1); first < events; first += 500 {
		if _, err := ix.Apply(entriesFrom(first, 500), first+499); err != nil {
			b.Fatal(err)
		}
	}
	n := uint64(0)
	for b.Loop() {
		n = (n*7919 + 1) % events
		if _, err := ix.Sequence(fmt.Sprintf("0197d1a2-%020d", n+1)); err != nil {
			b.Fatal(err)
		}
	}
}
