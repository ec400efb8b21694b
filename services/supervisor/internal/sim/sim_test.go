package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How to tell one run: see replay.
var (
	seedFlag  = flag.Uint64("seed", 0, "the run that TestSeed tells")
	breakFlag = flag.String("break", "", "the mutation that TestSeed runs with")
	onlyFlag  = flag.String("only", "", "the invariant that TestSeed checks; all by default")
)

// replay is the command that tells a run.
func replay(seed uint64, opt Options) string {
	cmd := fmt.Sprintf("go test ./services/supervisor/internal/sim -run 'TestSeed$' -v -seed=%d", seed)
	if opt.Break != None {
		cmd += fmt.Sprintf(" -break=%q", opt.Break)
	}
	if opt.Only != "" {
		cmd += fmt.Sprintf(" -only=%q", opt.Only)
	}
	return cmd
}

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestRuns runs SIM_RUNS seeds from SIM_FIRST on, on all processors.
func TestRuns(t *testing.T) {
	t.Parallel()
	runs, first := setting(t, "SIM_RUNS", 3000), setting(t, "SIM_FIRST", 0)
	const enough = 5 // failures to tell of
	var (
		mu      sync.Mutex
		all     Stats
		longest time.Duration
		broken  = map[uint64]*Violation{}
		next    atomic.Uint64
		workers sync.WaitGroup
	)
	work := func() {
		for seed := first + next.Add(1) - 1; seed < first+runs; seed = first + next.Add(1) - 1 {
			r := Run(Generate(seed), Options{})
			mu.Lock()
			all.Add(r.Stats)
			longest = max(longest, r.Took)
			if r.Violation != nil {
				broken[seed] = r.Violation
			}
			over := len(broken) >= enough
			mu.Unlock()
			if over {
				return
			}
		}
	}
	begin := time.Now()
	for range runtime.GOMAXPROCS(0) {
		workers.Go(work)
	}
	workers.Wait()
	for _, seed := range slices.Sorted(maps.Keys(broken)) {
		t.Errorf("seed %d: %v\ntell it: %s", seed, broken[seed], replay(seed, Options{}))
	}
	t.Logf("%d runs, %.0f/s; well again after at most %s", runs, float64(runs)/time.Since(begin).Seconds(), longest)
	t.Logf("%+v", all)
	if slices.Contains([]int{
		all.Takeovers, all.Refused, all.Verdicts, all.Ends, all.Moved, all.Scaled, all.Returned, all.Applied, all.Rolled, all.Stopped, all.Forgotten,
	}, 0) {
		t.Error("something never happened")
	}
}

// TestSeed tells the story of one run, reduced to what breaks an invariant, if
// one does.
func TestSeed(t *testing.T) {
	opt := Options{Break: Mutation(*breakFlag), Only: Invariant(*onlyFlag)}
	s, r := Shrink(Generate(*seedFlag), opt)
	if r.Violation == nil && !testing.Verbose() {
		return
	}
	t.Logf("seed %d: %d supervisors, %d runners; in percent lost %d, twice %d, late %d (up to %s), flaky starts %d; calm after %s",
		s.Seed, s.Supervisors, s.Runners, s.Loss, s.Twice, s.Late, s.Delay, s.Flaky, s.Calm)
	for _, n := range s.Specs {
		if n.Supervisor != nil {
			t.Logf("  %s under %q: %s, %+v", n.ID, n.Parent, n.Restart, *n.Supervisor)
		} else {
			t.Logf("  %s under %q: %s, %+v", n.ID, n.Parent, n.Restart, *n.Agent)
		}
	}
	opt.Tell = func(line string) { t.Log(line) }
	if r = Run(s, opt); r.Violation != nil {
		t.Error(r.Violation)
		return
	}
	t.Logf("all well %s after faults ceased", r.Took)
}

// TestMutations: each invariant catches what it is there for.
func TestMutations(t *testing.T) {
	t.Parallel()
	const most = 10_000
	mutations := Mutations()
	names := make([]Mutation, 0, len(mutations))
	for m := range mutations {
		names = append(names, m)
	}
	slices.Sort(names)
	caught := map[Invariant]bool{}
	for _, m := range names {
		for _, i := range mutations[m] {
			opt := Options{Break: m, Only: i}
			seed, found := uint64(0), false
			for ; seed < most && !found; seed++ {
				found = Run(Generate(seed), opt).Violation != nil
			}
			if !found {
				t.Errorf("%q is not caught by %q in %d runs", m, i, most)
				continue
			}
			caught[i] = true
			t.Logf("%-18s caught by %-11s in run %4d: %s", m, i, seed, replay(seed-1, opt))
			if testing.Verbose() {
				s, r := Shrink(Generate(seed-1), opt)
				t.Logf("  with %d faults and %d nodes: %v", len(s.Faults), len(s.Specs), r.Violation)
			}
		}
	}
	for _, i := range []Invariant{OneLives, Replay, DeadFirst, Prompt, Recovers, Blame} {
		if !caught[i] {
			t.Errorf("nothing shows that %q catches anything", i)
		}
	}
}

// TestSameSeedSameStory: without that no failure could be told again.
func TestSameSeedSameStory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		var stories [2][]string
		for i := range stories {
			Run(Generate(seed), Options{Tell: func(line string) { stories[i] = append(stories[i], line) }})
		}
		if len(stories[0]) < 10 {
			t.Fatalf("seed %d: a story of %d lines", seed, len(stories[0]))
		}
		if !slices.Equal(stories[0], stories[1]) {
			t.Fatalf("seed %d: two stories", seed)
		}
	}
}

// TestShrink: little is left of a run, and it breaks the same invariant.
func TestShrink(t *testing.T) {
	t.Parallel()
	had, left := 0, 0
	for seed := range uint64(60) {
		whole := Generate(seed)
		opt := Options{Break: StaleAppends}
		before := Run(whole, opt)
		if before.Violation == nil {
			continue
		}
		s, r := Shrink(whole, opt)
		if r.Violation == nil || r.Violation.Invariant != before.Violation.Invariant {
			t.Fatalf("seed %d: %v became %v", seed, before.Violation, r.Violation)
		}
		opt.Only = r.Violation.Invariant
		had += len(whole.Faults) + len(whole.Specs)
		left += len(s.Faults) + len(s.Specs)
		if again := Run(s, opt); again.Violation == nil || *again.Violation != *r.Violation {
			t.Errorf("seed %d: shrunk, it breaks %v, then %v", seed, r.Violation, again.Violation)
		}
	}
	if left == 0 || left > had/3 {
		t.Errorf("of %d faults and nodes %d are left", had, left)
	}
}

func BenchmarkRun(b *testing.B) {
	var all Stats
	for i := 0; b.Loop(); i++ {
		all.Add(Run(Generate(uint64(i)), Options{}).Stats)
	}
	b.ReportMetric(float64(all.Events)/b.Elapsed().Seconds(), "events/s")
}
