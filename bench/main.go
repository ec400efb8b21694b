// Command bench measures what MisterSmith promises about its speed and size,
// and says what holds: `go run ./bench`, or `go run ./bench supervisor` for one
// part. The benchmarks are the services' own, next to what they measure; each
// compares the service with a floor that it measures in the same run, so that
// the figures mean something on any machine. docs/performance.md describes them.
//
// It ends with 1 when a promise does not hold, and with 2 when something cannot
// be measured.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	count := flag.Int("count", 3, "how often each benchmark is run; the median counts")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./bench [-count N] [PART]\nparts: "+strings.Join(parts(), ", "))
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || flag.NArg() == 1 && !slices.Contains(parts(), flag.Arg(0)) || *count < 1 {
		flag.Usage()
		os.Exit(2)
	}
	fmt.Printf("%s %s/%s, GOMAXPROCS %d, %s, median of %d\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly), *count)
	held := true
	for _, b := range benchmarks {
		if flag.NArg() == 1 && b.part != flag.Arg(0) {
			continue
		}
		metrics, err := b.run(*count)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(2)
		}
		held = b.report(os.Stdout, metrics) && held
	}
	if !held {
		os.Exit(1)
	}
}

// run gives the median of each metric.
func (b benchmark) run(count int) (map[string]float64, error) {
	args := []string{"test", "-run", "^$", "-bench", "^" + b.name + "$", "-benchmem", "-count", strconv.Itoa(count), "-timeout", "1h"}
	cmd := exec.Command("go", append(append(args, b.flags...), b.dir)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	metrics := parse(out)
	for _, p := range b.promises {
		if len(metrics[p.metric]) != count {
			return nil, fmt.Errorf("%s gives %d values of %s, want %d\n%s", strings.Join(cmd.Args, " "), len(metrics[p.metric]), p.metric, count, out)
		}
	}
	medians := map[string]float64{}
	for name, values := range metrics {
		slices.Sort(values)
		medians[name] = values[len(values)/2]
	}
	return medians, nil
}

// parse reads what `go test -bench` prints: by unit, the value of each run.
func parse(out []byte) map[string][]float64 {
	metrics := map[string][]float64{}
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				metrics[fields[i+1]] = append(metrics[fields[i+1]], v)
			}
		}
	}
	return metrics
}

// report prints what was measured and tells whether every promise holds.
func (b benchmark) report(w io.Writer, metrics map[string]float64) (held bool) {
	fmt.Fprintf(w, "\n%s: %s\n", b.part, b.what)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	held = true
	for _, p := range b.promises {
		word := "holds"
		if !p.holds(metrics[p.metric]) {
			word, held = "MISSED", false
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", p.what, number(metrics[p.metric]), p.limit(), word)
	}
	for _, name := range b.shown {
		fmt.Fprintf(t, "  %s\t%s\n", name, number(metrics[name]))
	}
	// The table is on its way to a terminal; there is nobody to tell otherwise.
	_ = t.Flush()
	return held
}

func number(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
