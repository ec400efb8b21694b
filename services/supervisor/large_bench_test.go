package supervisor

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// BenchmarkLarge runs a supervisor of 100,000 agents that begins with a stored
// snapshot. It gives the time from its start until it serves, the heap that is
// free again once it has ended, by agent, and the time from an exit's arrival
// to the order to start again, beside that of a supervisor of 100 agents. Both
// run in one process, each with a server, and exits alternate.
func BenchmarkLarge(b *testing.B) {
	const agents = 100_000
	r := newRig(b, natstest.Start)
	r.serveRunner("r1")
	large := flat(b, "large", "r1", agents)
	r.store(large, "r1")

	begin, spent := time.Now(), processorTime(b)
	_, stop := r.supervise("s1", large)
	boot := time.Since(begin)
	spent = processorTime(b) - spent
	inUse := heapInUse()
	stop()
	large = nil
	size := float64(inUse-heapInUse()) / agents

	t, _ := r.supervise("s2", flat(b, "large", "r1", agents))
	decisions := r.follow("large")
	other := newRig(b, natstest.Start)
	other.serveRunner("r1")
	small := other.follow("small")
	u, _ := other.supervise("s3", flat(b, "small", "r1", 100))
	awaitRunning(small, 100)
	var many, few times
	for i := 0; b.Loop(); i++ {
		// A step that is no divisor of 10,000 meets agents all over the tree.
		k := i * 7919 % agents
		agent := "large-" + string(rune('a'+k/10_000)) + "-" + strconv.Itoa(k%10_000+1)
		if took, _ := r.restart(t, decisions, agent, 1, "r1"); took >= 0 {
			many = append(many, took)
		}
		agent = "small-a-" + strconv.Itoa(i%100+1)
		if took, _ := other.restart(u, small, agent, uint64(i/100+1), "r1"); took >= 0 {
			few = append(few, took)
		}
	}
	b.ReportMetric(size, "B/agent")
	b.ReportMetric(boot.Seconds(), "boot-s")
	b.ReportMetric(spent.Seconds(), "boot-cpu-s")
	b.ReportMetric(many.quantile(.5), "p50-100k-µs")
	b.ReportMetric(few.quantile(.5), "p50-100-µs")
	b.ReportMetric(many.quantile(.5)/few.quantile(.5), "p50-ratio")
	b.ReportMetric(many.quantile(.99)/few.quantile(.99), "p99-ratio")
}

// heapInUse is what is in use after garbage is collected, once the server has
// dropped what it keeps for some seconds of what it stored last.
func heapInUse() int64 {
	var least uint64
	for range 15 {
		<-time.After(time.Second)
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if least == 0 || m.HeapAlloc < least {
			least = m.HeapAlloc
		}
	}
	return int64(least)
}

// store puts a snapshot of the tree with all its agents running into the bucket.
func (r *rig) store(f *config.File, runner string) {
	r.b.Helper()
	nc := r.server.Connect(r.b)
	defer nc.Close()
	ctx := context.Background()
	env, err := shell.NewEnv(ctx, "supervisor", "storing", nc, slog.New(slog.DiscardHandler), nil, shell.NewHealth())
	if err != nil {
		r.b.Fatal(err)
	}
	j, err := journal.Open(ctx, env, f.Tree.Name, journal.Guards{Log: shell.NewGuard(env, nil, contracts.ServiceEventStore)})
	if err != nil {
		r.b.Fatal(err)
	}
	if _, err := j.Load(ctx); err != nil {
		r.b.Fatal(err)
	}
	if err := j.Append(ctx, &decisionlog.Decision{Tree: f.Tree.Name, Number: 1, ID: uuid.NewString(), Type: contracts.TreeDecided, At: tree.Instant(time.Now().UnixNano())}); err != nil {
		r.b.Fatal(err)
	}
	all := running(r.b, f, runner)
	for id, n := range all.Nodes {
		if n.Spec.Agent != nil {
			r.hold(id, n.State.Incarnation)
		}
	}
	if err := j.Save(ctx, all, 1); err != nil {
		r.b.Fatal(err)
	}
}

// running returns a tree in which every agent runs.
func running(b *testing.B, f *config.File, runner string) tree.Snapshot {
	b.Helper()
	c, err := configuration(f)
	if err != nil {
		b.Fatal(err)
	}
	all, err := c.Sealed(nil) // none of them has an environment
	if err != nil {
		b.Fatal(err)
	}
	now := tree.Instant(time.Now().UnixNano())
	t := tree.New(tree.Options{})
	t.Deciding(uuid.NewString())
	t.Step(&tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: runner}}}, now, nil)
	for _, e := range t.Step(&tree.Input{Kind: tree.Configure, Specs: all, Boot: true}, now, nil) {
		if e.Kind == tree.DoStart {
			t.Step(&tree.Input{Kind: tree.Beat, Node: e.Node, Incarnation: e.Incarnation}, now, nil)
			t.Step(&tree.Input{Kind: tree.Started, Node: e.Node, Incarnation: e.Incarnation, PID: 4711}, now, nil)
		}
	}
	t.Step(&tree.Input{Kind: tree.Tick}, now.Add(time.Second), nil)
	t.Changes(nil)
	if got := t.Active(); got != len(f.Tree.Agents()) {
		b.Fatalf("%d agents run, want %d", got, len(f.Tree.Agents()))
	}
	return t.Snapshot()
}
