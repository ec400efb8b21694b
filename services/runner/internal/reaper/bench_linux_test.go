package reaper

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// BenchmarkStart measures a start by a reaper beside one by this process, in turns:
// the hop is the difference.
func BenchmarkStart(b *testing.B) {
	r, err := Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	ways := []func(string, process.Command) (*process.Process, error){
		r.Start,
		func(_ string, c process.Command) (*process.Process, error) { return process.Start(c) },
	}
	took := make([][]time.Duration, len(ways))
	dir := b.TempDir()
	for b.Loop() {
		for way, start := range ways {
			token := uuid.NewString()
			c := shell(dir, token, "")
			c.Argv = []string{"/bin/true"}
			begin := time.Now()
			p, err := start(token, c)
			took[way] = append(took[way], time.Since(begin))
			c.Lock.Close()
			c.Output.Close()
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Wait(context.Background()); err != nil {
				b.Fatal(err)
			}
			p.Reap()
			p.Close()
			r.Taken(token)
		}
	}
	p50 := func(way int) float64 {
		slices.Sort(took[way])
		return float64(took[way][len(took[way])/2].Microseconds())
	}
	b.ReportMetric(p50(0), "µs-by-reaper")
	b.ReportMetric(p50(1), "µs-directly")
}
