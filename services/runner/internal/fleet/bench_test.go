package fleet

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// BenchmarkReadopt measures how long a runner takes to find the agents of its
// predecessor again, per runner of 200 agents.
func BenchmarkReadopt(b *testing.B) {
	const agents = 200
	dir := b.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	r, err := newRig(b.Context(), dir, "", quiet)
	if err != nil {
		b.Fatal(err)
	}
	r.o.MaxAgents = agents
	begin := time.Now()
	for i := range agents {
		cmd := contracts.StartCommand{Agent: fmt.Sprintf("a%d", i), Incarnation: 1, Command: []string{"sleep", "1000"}}
		if reply := r.Start(cmd); reply.Code != contracts.RunnerOK {
			b.Fatalf("%+v", reply)
		}
	}
	starting := time.Since(begin)
	for b.Loop() {
		b.StopTimer()
		r.Close()
		if err := r.ledger.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if r, err = newRig(b.Context(), dir, "", quiet); err != nil {
			b.Fatal(err)
		}
		if r.Running() != agents {
			b.Fatalf("%d agents adopted", r.Running())
		}
	}
	b.ReportMetric(float64(starting.Microseconds())/1000/agents, "ms/start")
	begin = time.Now()
	if err := r.StopAll(b.Context()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ms/stop-all")
	r.Close()
	if err := r.ledger.Close(); err != nil {
		b.Error(err)
	}
}
