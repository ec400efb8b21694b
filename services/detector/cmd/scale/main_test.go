package main

import (
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// The report on a small fleet: everybody killed is found, nobody else.
func TestReport(t *testing.T) {
	for _, uuids := range []bool{false, true} {
		var out strings.Builder
		if err := measure(&out, options{Agents: 2000, Rounds: 15, Killed: 100, Interval: 10 * time.Second, UUIDs: uuids}); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		for _, line := range []string{
			`agents +2000, each beating every 10s`, `core, one by one +[1-9]\d* ns`, `core, in batches of 32 +[1-9]\d* ns`, `resident memory +[1-9]\d* MiB`,
			`verdicts +100 of 100 agents that fell silent, 0 of others`,
		} {
			if !regexp.MustCompile(line).MatchString(out.String()) {
				t.Errorf("no %q in\n%s", line, out.String())
			}
		}
	}
}

// BenchmarkCore is the report as a benchmark: a million agents, once.
func BenchmarkCore(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	for range b.N {
		w, err := newWorld(options{Agents: 1_000_000, Rounds: 15, Killed: 1000, Interval: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		for range w.Rounds * w.Agents {
			w.beat()
		}
		resident, _ := memory()
		t := compare(w)
		if found, killed, wrong := w.kill(); found != killed || wrong > 0 {
			b.Fatalf("%d of %d verdicts, %d wrong ones", found, killed, wrong)
		}
		b.ReportMetric(mib(resident), "resident-MiB")
		b.ReportMetric(median(t.batches), "cpu-ns/beat")
		b.ReportMetric(median(t.single), "single-cpu-ns/beat")
		b.ReportMetric(median(t.floor), "floor-cpu-ns/beat")
		b.ReportMetric(median(t.batches)/median(t.floor), "ratio")
	}
}
