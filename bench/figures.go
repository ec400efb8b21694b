package main

import "slices"

// benchmark is one benchmark and what is promised about its metrics.
type benchmark struct {
	part, what string
	dir, name  string
	flags      []string
	promises   []promise
	// shown are metrics that only explain the others.
	shown []string
}

// promise bounds a metric; one of the bounds is 0 and does not count.
type promise struct {
	what, metric    string
	atMost, atLeast float64
}

func (p promise) holds(v float64) bool {
	return (p.atMost == 0 || v <= p.atMost) && (p.atLeast == 0 || v >= p.atLeast)
}

func (p promise) limit() string {
	if p.atMost > 0 {
		return "at most " + number(p.atMost)
	}
	return "at least " + number(p.atLeast)
}

func parts() []string {
	var out []string
	for _, b := range benchmarks {
		if !slices.Contains(out, b.part) {
			out = append(out, b.part)
		}
	}
	return out
}

var benchmarks = []benchmark{
	{
		part: "supervisor", what: "an exit's arrival to the start order's departure, against one JetStream publish plus one request",
		dir: "./services/supervisor", name: "BenchmarkOverhead", flags: []string{"-benchtime", "3000x"},
		promises: []promise{
			{what: "median, times the floor's", metric: "p50-ratio", atMost: 1.5},
			{what: "99th percentile, times the floor's", metric: "p99-ratio", atMost: 3},
		},
		shown: []string{"p50-µs", "floor-p50-µs", "p99-µs", "floor-p99-µs"},
	},
	{
		part: "supervisor", what: "10,000 agents exit at once, against asynchronous publishing of the same bytes",
		dir: "./services/supervisor", name: "BenchmarkStorm", flags: []string{"-benchtime", "1x"},
		promises: []promise{{what: "decisions a second, of the floor's messages", metric: "ratio", atLeast: 0.5}},
		shown:    []string{"decisions/s", "floor-messages/s", "whole-decisions/s", "whole-ratio", "cpu-ratio"},
	},
	{
		part: "supervisor", what: "100,000 agents",
		dir: "./services/supervisor", name: "BenchmarkLarge", flags: []string{"-benchtime", "1000x"},
		promises: []promise{
			{what: "heap of the whole service, bytes an agent", metric: "B/agent", atMost: 1024},
			{what: "start from a snapshot to serving, seconds", metric: "boot-s", atMost: 5},
			{what: "one exit decided, times that among 100 agents", metric: "p50-ratio", atMost: 2},
		},
		shown: []string{"boot-cpu-s", "p50-100k-µs", "p50-100-µs", "p99-ratio"},
	},
	{
		part: "supervisor", what: "the core alone, on one processor",
		dir: "./services/supervisor/internal/tree", name: "BenchmarkInputs", flags: []string{"-cpu", "1"},
		promises: []promise{{what: "inputs a second of processor time", metric: "inputs/cpu-s", atLeast: 1_000_000}},
		shown:    []string{"inputs/s", "ns/op", "B/op"},
	},
	{
		part: "detector", what: "the core with a million agents, on one processor, against a map lookup and a write",
		dir: "./services/detector/cmd/scale", name: "BenchmarkCore", flags: []string{"-benchtime", "1x", "-cpu", "1"},
		promises: []promise{
			{what: "resident memory of the process, MiB", metric: "resident-MiB", atMost: 450},
			{what: "a heartbeat among others, ns of processor time", metric: "cpu-ns/beat", atMost: 500},
		},
		shown: []string{"single-cpu-ns/beat", "floor-cpu-ns/beat", "ratio"},
	},
	{
		part: "runner", what: "100 processes under smith up, killed and running again, against a bare loop of pidfds and Erlang/OTP",
		dir: "./bench/restart", name: "BenchmarkKilled", flags: []string{"-benchtime", "1x"},
		promises: []promise{
			{what: "one at a time, times the bare loop's", metric: "one-ratio", atMost: 2.5},
			{what: "all at once, times the bare loop's", metric: "all-ratio", atMost: 2.5},
		},
		shown: []string{"one-ms", "one-floor-ms", "one-erlang-ratio", "all-ms", "all-floor-ms", "all-erlang-ratio"},
	},
	{
		part: "runner", what: "1,000 programs under one runner",
		dir: "./bench/restart", name: "BenchmarkCrowd/^1000", flags: []string{"-benchtime", "1x"},
		promises: []promise{
			{what: "memory of the runner for each, KiB", metric: "KiB/agent", atMost: 30},
			{what: "killed, and serving with all of them again, seconds", metric: "adoption-s", atMost: 2},
		},
		shown: []string{"stop-s"},
	},
	{
		part: "runner", what: "10,000 programs that sleep",
		dir: "./bench/restart", name: "BenchmarkCrowd/^10000", flags: []string{"-benchtime", "1x"},
		promises: []promise{{what: "processor time of the runner, percent of a core", metric: "idle-percent", atMost: 2}},
		shown:    []string{"agents", "KiB/agent", "adoption-s"},
	},
}
