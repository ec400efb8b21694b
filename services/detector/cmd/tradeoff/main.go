// Command tradeoff measures what every threshold of every algorithm costs and
// brings: mistakes per hour against the time until a death is found, over
// traces that it makes itself.
//
//	go run ./services/detector/cmd/tradeoff -svg docs/tradeoff.svg
//	go run ./services/detector/cmd/tradeoff -table
//	go run ./services/detector/cmd/tradeoff -calibration 24
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/rehearsal"
	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
	"github.com/mistersmith/mistersmith/services/detector/internal/traces"
)

func main() {
	seed := flag.Uint64("seed", 1, "of the traces")
	hours := flag.Float64("hours", 24, "length of each trace")
	svg := flag.String("svg", "", "write the plot to this file")
	table := flag.Bool("table", false, "print a table of every trace under the default settings")
	seeds := flag.Int("calibration", 0, "print, over traces of so many seeds from -seed on, the mistakes expected and made at phi 4 and 5")
	flag.Parse()
	if *hours < 0.1 || *hours > 1000 || *seeds < 0 || *svg == "" && !*table && *seeds == 0 {
		fmt.Fprintln(os.Stderr, "tradeoff: give -svg FILE, -table or -calibration SEEDS, and -hours between 0.1 and 1000")
		os.Exit(2)
	}
	if *seeds > 0 {
		if err := printCalibration(os.Stdout, *seed, *seeds, time.Duration(*hours*float64(time.Hour))); err != nil {
			fmt.Fprintln(os.Stderr, "tradeoff:", err)
			os.Exit(1)
		}
	}
	if *svg == "" && !*table {
		return
	}
	if err := run(os.Stdout, traces.Make(*seed, time.Duration(*hours*float64(time.Hour))), *svg, *table); err != nil {
		fmt.Fprintln(os.Stderr, "tradeoff:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, all []traces.Trace, svg string, table bool) error {
	if table {
		if err := printTable(out, all); err != nil {
			return err
		}
	}
	if svg == "" {
		return nil
	}
	curves, err := sweep(all)
	if err != nil {
		return err
	}
	return os.WriteFile(svg, draw(curves), 0o644)
}

// algorithms are those compared, and the thresholds tried; 0 is the default.
var algorithms = []struct {
	name       suspicion.Algorithm
	thresholds []float64
}{
	{suspicion.Tail, []float64{2.5, 3, 3.5, 4, 0, 4.5, 5, 5.5, 6}},
	{suspicion.Normal, []float64{1, 2, 4, 0, 12, 16, 24, 40, 80}},
	{suspicion.Fixed, []float64{1.2, 1.5, 2, 2.5, 0, 4, 5, 6, 8}},
}

// outcome is what one setting gives on one trace, or on all.
type outcome struct {
	threshold float64
	// intervals until a death is found, mistakes per hour.
	intervals, mistakes float64
}

// measure replays a trace. Coarse looks at the clock only when something
// arrives, which changes nothing but for a detector that stalls.
func measure(tr traces.Trace, algorithm suspicion.Algorithm, threshold float64, coarse bool) (outcome, error) {
	rules := fleet.Config{Suspicion: suspicion.Settings{Algorithm: algorithm}, Threshold: threshold, Tick: 10 * time.Millisecond}
	if coarse {
		rules.Tick = 24 * time.Hour
	}
	r, err := rehearsal.Run(tr.Entries, rules)
	if err != nil {
		return outcome{}, fmt.Errorf("%s under %s %g: %w", tr.Name, algorithm, threshold, err)
	}
	return outcome{threshold, r.Detection, float64(r.Mistakes) / r.Length.Hours()}, nil
}

// curve is one algorithm over its thresholds.
type curve struct {
	name   suspicion.Algorithm
	points []outcome
}

// sweep measures every setting on all traces in which the detector itself is
// well, and gives the geometric mean of the times and the mean of mistakes.
func sweep(all []traces.Trace) ([]curve, error) {
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	tokens := make(chan struct{}, runtime.GOMAXPROCS(0))
	curves := make([]curve, len(algorithms))
	for i, a := range algorithms {
		curves[i] = curve{a.name, make([]outcome, len(a.thresholds))}
		for j, threshold := range a.thresholds {
			wg.Go(func() {
				tokens <- struct{}{}
				defer func() { <-tokens }()
				o, err := mean(all, a.name, threshold)
				mu.Lock()
				defer mu.Unlock()
				curves[i].points[j] = o
				if err != nil {
					failed = err
				}
			})
		}
	}
	wg.Wait()
	return curves, failed
}

const stalling = "stalls of the detector"

func mean(all []traces.Trace, algorithm suspicion.Algorithm, threshold float64) (outcome, error) {
	var each []outcome
	for _, tr := range all {
		if tr.Name == stalling {
			continue
		}
		o, err := measure(tr, algorithm, threshold, true)
		if err != nil {
			return o, err
		}
		each = append(each, o)
	}
	return average(each), nil
}

// average is the geometric mean of the times and the mean of the mistakes.
func average(each []outcome) outcome {
	sum := outcome{threshold: each[0].threshold}
	for _, o := range each {
		sum.intervals += math.Log(o.intervals)
		sum.mistakes += o.mistakes
	}
	sum.intervals = math.Exp(sum.intervals / float64(len(each)))
	sum.mistakes /= float64(len(each))
	return sum
}

func printTable(out io.Writer, all []traces.Trace) error {
	fmt.Fprintln(out, "| trace | `tail` | `normal` | `fixed` |\n| --- | --- | --- | --- |")
	each := make([][]outcome, len(algorithms))
	for _, tr := range all {
		fmt.Fprintf(out, "| %s", tr.Name)
		for i, a := range algorithms {
			o, err := measure(tr, a.name, 0, false)
			if err != nil {
				return err
			}
			each[i] = append(each[i], o)
			fmt.Fprintf(out, " | %.2f / %s", o.intervals, few(o.mistakes))
		}
		fmt.Fprintln(out, " |")
	}
	fmt.Fprint(out, "| **geometric mean, mean**")
	for i := range algorithms {
		o := average(each[i])
		fmt.Fprintf(out, " | **%.2f / %s**", o.intervals, few(o.mistakes))
	}
	_, err := fmt.Fprintln(out, " |")
	return err
}

// few writes a rate in as many digits as it has.
func few(rate float64) string {
	switch {
	case rate == 0:
		return "0"
	case rate >= 10:
		return fmt.Sprintf("%.0f", rate)
	}
	return fmt.Sprintf("%.2g", rate)
}
