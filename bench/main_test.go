package main

import (
	"bytes"
	"strings"
	"testing"
)

const output = `goos: linux
pkg: example
BenchmarkOverhead-2   	    3000	    512345 ns/op	       210.5 floor-p50-µs	         1.120 p50-ratio
BenchmarkOverhead-2   	    3000	    522345 ns/op	       200.5 floor-p50-µs	         1.620 p50-ratio
PASS
`

func TestParse(t *testing.T) {
	t.Parallel()
	got := parse([]byte(output))
	if len(got) != 3 || len(got["p50-ratio"]) != 2 || got["p50-ratio"][1] != 1.62 || got["floor-p50-µs"][0] != 210.5 {
		t.Errorf("parsed %v", got)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	b := benchmark{part: "p", what: "w", promises: []promise{{what: "r", metric: "p50-ratio", atMost: 1.5}, {what: "s", metric: "rate", atLeast: 10}}, shown: []string{"x"}}
	var out bytes.Buffer
	if !b.report(&out, map[string]float64{"p50-ratio": 1.5, "rate": 10, "x": 1234.5}) || strings.Contains(out.String(), "MISSED") || !strings.Contains(out.String(), "1234") {
		t.Errorf("what holds is reported as\n%s", out.String())
	}
	for _, bad := range []map[string]float64{{"p50-ratio": 1.51, "rate": 10}, {"p50-ratio": 1, "rate": 9.9}} {
		out.Reset()
		if b.report(&out, bad) || !strings.Contains(out.String(), "MISSED") {
			t.Errorf("what is missed is reported as\n%s", out.String())
		}
	}
}

// TestBenchmarks: every promise can be found.
func TestBenchmarks(t *testing.T) {
	t.Parallel()
	for _, b := range benchmarks {
		if b.part == "" || b.what == "" || b.dir == "" || b.name == "" || len(b.promises) == 0 {
			t.Errorf("incomplete: %+v", b)
		}
		for _, p := range b.promises {
			if (p.atMost == 0) == (p.atLeast == 0) || p.what == "" || p.metric == "" {
				t.Errorf("%s: %+v has not exactly one bound", b.name, p)
			}
		}
	}
}
