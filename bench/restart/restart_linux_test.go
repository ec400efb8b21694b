package restart

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkKilled kills processes that run in hundreds under a bare loop of pidfds,
// under Erlang/OTP and under MisterSmith, and compares how long it takes until they
// say that they run again: one at a time, and all at once. The peers take turns.
func BenchmarkKilled(b *testing.B) {
	const count, rounds, storms = 100, 200, 5
	peers := map[string]*peer{"bare": bare(b, count), "smith": smith(b, count)}
	if p := erlang(b, count); p != nil {
		peers["erlang"] = p
	} else {
		b.Log("escript is not there: no comparison with Erlang/OTP")
	}
	one, all := map[string][]time.Duration{}, map[string][]time.Duration{}
	for b.Loop() {
		for i := range rounds {
			for name, p := range peers { // in any order
				one[name] = append(one[name], p.one(agent(i%count)))
			}
		}
		for range storms {
			for name, p := range peers {
				all[name] = append(all[name], p.all())
			}
		}
	}
	for what, took := range map[string]map[string][]time.Duration{"one": one, "all": all} {
		b.ReportMetric(median(took["smith"]), what+"-ms")
		b.ReportMetric(median(took["bare"]), what+"-floor-ms")
		b.ReportMetric(median(took["smith"])/median(took["bare"]), what+"-ratio")
		if peers["erlang"] != nil {
			b.ReportMetric(median(took["erlang"]), what+"-erlang-ms")
			b.ReportMetric(median(took["smith"])/median(took["erlang"]), what+"-erlang-ratio")
		}
	}
}

// median is in milliseconds.
func median(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Microseconds()) / 1000
}
