package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
	"github.com/mistersmith/mistersmith/services/detector/internal/traces"
)

// calibrated are the traces whose gaps go on as they were: only of those can a
// level be what it says, the share of gaps that are longer.
var calibrated = map[string]bool{
	"quiet": true, "pauses": true, "loss 1 %": true, "loss 5 %": true, "bursts of loss": true, "regular": true,
}

// levels are the thresholds that are looked at.
var levels = []float64{4, 5}

// tally sums up, for one trace and level, what was to be expected and was seen.
type tally struct {
	expected float64
	mistakes int
}

// printCalibration compares, over traces of so many seeds, the mistakes made
// with those to be expected, 10^-threshold per heartbeat.
func printCalibration(out io.Writer, seed uint64, seeds int, length time.Duration) error {
	sums := map[string][]tally{}
	for i := range seeds {
		for _, tr := range traces.Make(seed+uint64(i), length) {
			if !calibrated[tr.Name] {
				continue
			}
			if sums[tr.Name] == nil {
				sums[tr.Name] = make([]tally, len(levels))
			}
			for j, level := range levels {
				o, err := measure(tr, suspicion.Tail, level, true)
				if err != nil {
					return err
				}
				span := tr.Entries[len(tr.Entries)-1].At - tr.Entries[0].At
				sums[tr.Name][j].expected += float64(len(tr.Entries)) * math.Pow(10, -level)
				sums[tr.Name][j].mistakes += int(math.Round(o.mistakes * span.Hours()))
			}
		}
	}
	fmt.Fprint(out, "| trace ")
	for _, level := range levels {
		fmt.Fprintf(out, "| phi %g: expected | made | ratio ", level)
	}
	fmt.Fprintln(out, "|\n| --- | --- | --- | --- | --- | --- | --- |")
	for _, name := range traces.Names() {
		if !calibrated[name] {
			continue
		}
		fmt.Fprintf(out, "| %s ", name)
		for _, t := range sums[name] {
			fmt.Fprintf(out, "| %.1f | %d | %.2f ", t.expected, t.mistakes, float64(t.mistakes)/t.expected)
		}
		fmt.Fprintln(out, "|")
	}
	return nil
}
