package guard

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// What a guard adds to a call that succeeds at once.
func BenchmarkDo(b *testing.B) {
	g := New("svc", Options{Registerer: prometheus.NewRegistry()})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Do(ctx, g, "op", func(context.Context) (int, error) { return 1, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
