// Command scale measures the detector's core with very many agents: how much
// memory the process takes with all of them registered and beating, and what a
// heartbeat costs, from the agent's name to the last timer it moves.
//
// Virtual time runs as fast as the core can; everything else is real. All
// agents are announced, beat once per interval in an order without pattern and
// up to 3 % early or late, and at the end a thousand of them fall silent. It
// runs on one core and prints, from the same run, what a plain Go map costs
// that is asked for the same names.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

func main() {
	o := options{Killed: 1000}
	flag.IntVar(&o.Agents, "agents", 1_000_000, "how many agents")
	flag.DurationVar(&o.Interval, "interval", 10*time.Second, "how often each beats")
	flag.IntVar(&o.Rounds, "rounds", 15, "how often each beats before it is measured")
	flag.BoolVar(&o.UUIDs, "uuid", false, "name them by 36 characters instead of 14")
	percent := flag.Int("gc", 25, "GOGC")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(*percent)
	if err := measure(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// measure runs everything and prints the report.
func measure(out io.Writer, o options) error {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	began := time.Now()
	for range o.Rounds * o.Agents {
		w.beat()
	}
	grown := time.Since(began)
	resident, peak := memory()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)

	names := len(w.names)
	t := compare(w)
	found, killed, wrong := w.kill()
	fmt.Fprintf(out, "agents                  %d, each beating every %s, names of %d bytes\n", o.Agents, o.Interval, w.width)
	fmt.Fprintf(out, "registered, %2d rounds   %.1f s\n", o.Rounds, grown.Seconds())
	fmt.Fprintf(out, "resident memory         %.0f MiB, at most %.0f MiB (%.0f MiB of it the list of names to send)\n", mib(resident), mib(peak), mib(names))
	fmt.Fprintf(out, "live heap               %.0f bytes per agent\n", float64(int(m.HeapAlloc)-names)/float64(o.Agents))
	fmt.Fprintf(out, "core, one by one        %s per heartbeat\n", t.single)
	fmt.Fprintf(out, "core, in batches of 32  %s per heartbeat\n", t.batches)
	fmt.Fprintf(out, "map lookup and a write  %s, so the core takes %.1f and %.1f times as long\n", t.floor, median(t.single)/median(t.floor), median(t.batches)/median(t.floor))
	fmt.Fprintf(out, "verdicts                %d of %d agents that fell silent, %d of others\n", found, killed, wrong)
	if found != killed || wrong > 0 {
		return fmt.Errorf("%d of %d verdicts, %d wrong ones", found, killed, wrong)
	}
	return nil
}

func mib(bytes int) float64 { return float64(bytes) / (1 << 20) }

// costs are nanoseconds of processor time per heartbeat, turn by turn.
type costs []float64

func (c costs) String() string {
	return fmt.Sprintf("%.0f ns (median of %d turns, %.0f to %.0f)", median(c), len(c), slices.Min(c), slices.Max(c))
}

func median(c costs) float64 {
	sorted := slices.Sorted(slices.Values(c))
	return sorted[len(sorted)/2]
}

// turn is how many heartbeats are measured at once.
const turn = 100_000

// table is what was measured, in turns.
type table struct{ single, batches, floor costs }

// compare measures the core and the least that anybody could do: a map that is
// asked for the same names, and a write.
func compare(w *world) (t table) {
	type entry struct {
		seq  uint64
		last time.Duration
	}
	entries := make([]entry, w.Agents)
	index := make(map[string]int, w.Agents)
	for i := range w.Agents {
		index[w.name(i)] = i
	}
	measure := func(c *costs, beat func(k int)) {
		k, began := w.next, cpu()
		for i := range turn {
			beat(k + i)
		}
		*c = append(*c, float64((cpu()-began).Nanoseconds())/turn)
	}
	for range 1 + 2*w.Agents/turn {
		measure(&t.floor, func(k int) {
			name, seq, now := w.at(k)
			e := &entries[index[name]]
			e.seq, e.last = seq, now
		})
		w.batch = 1
		measure(&t.single, func(int) { w.beat() })
		w.batch = 32
		measure(&t.batches, func(int) { w.beat() })
	}
	return t
}
