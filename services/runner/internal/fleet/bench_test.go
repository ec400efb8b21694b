package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
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
	r, err := newRig(b.Context(), dir, "", byReaper, quiet)
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
		r.close()
		b.StartTimer()
		if r, err = newRig(b.Context(), dir, "", byReaper, quiet); err != nil {
			b.Fatal(err)
		}
		if r.Running() != agents {
			b.Fatalf("%d agents adopted", r.Running())
		}
	}
	b.ReportMetric(float64(starting.Microseconds())/1000/agents, "ms/start")
	begin = time.Now()
	if err := r.WithdrawAll(b.Context()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ms/stop-all")
	r.close()
}

// BenchmarkRestart measures from kill -9 of an agent to the answer that its next
// incarnation runs, and the start alone, where a reaper is the agents' parent and
// where the runner is, in turns.
func BenchmarkRestart(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	rigs := map[parent]*rig{}
	for _, by := range []parent{byReaper, byRunner} {
		r, err := newRig(b.Context(), b.TempDir(), "", by, quiet)
		if err != nil {
			b.Fatal(err)
		}
		defer func() {
			if err := r.WithdrawAll(context.Background()); err != nil {
				b.Error(err)
			}
			r.close()
		}()
		r.o.BootID = "this boot"
		rigs[by] = r
	}
	incarnation := uint64(0)
	start := func(r *rig) int {
		reply := r.Start(contracts.StartCommand{Agent: "a", Incarnation: incarnation, BootID: r.o.BootID, Command: []string{"sleep", "1000"}})
		if reply.Code != contracts.RunnerOK {
			b.Fatalf("%+v", reply)
		}
		return reply.PID
	}
	pids := map[parent]int{}
	starts, restarts := map[parent][]time.Duration{}, map[parent][]time.Duration{}
	for b.Loop() {
		incarnation++
		for by, r := range rigs { // in any order
			begin := time.Now()
			if pid := pids[by]; pid != 0 {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					b.Fatal(err)
				}
				for r.Running() > 0 {
					r.acknowledge(<-r.notify)
				}
			}
			ended := time.Now()
			pids[by] = start(r)
			starts[by] = append(starts[by], time.Since(ended))
			restarts[by] = append(restarts[by], time.Since(begin))
			r.acknowledge(<-r.notify)
		}
	}
	for what, took := range map[string]map[parent][]time.Duration{"start": starts, "restart": restarts} {
		b.ReportMetric(p50(took[byReaper]), what+"-ms")
		b.ReportMetric(p50(took[byReaper])/p50(took[byRunner]), what+"-ratio")
	}
}

// p50 is a median in milliseconds.
func p50(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Microseconds()) / 1000
}

func (r *rig) acknowledge(agent string) {
	for ev, ok := r.Pending(agent); ok; ev, ok = r.Pending(agent) {
		r.Acknowledge(agent, ev.ID)
	}
}
