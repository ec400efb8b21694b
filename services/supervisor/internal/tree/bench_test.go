package tree

import "testing"

// BenchmarkRestart is one exit decided and its start acknowledged: two inputs.
func BenchmarkRestart(b *testing.B) {
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 1 << 40})}
	names := make([]string, 1000)
	for i := range names {
		names[i] = "agent-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		specs = append(specs, agent(names[i], "root"))
	}
	specs[0].Supervisor.Period = 1 // ns: the window stays short
	t := newBench(b, specs...).tree
	var out []Effect
	var changes []Change
	inc := uint64(1)
	now := epoch
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(names) == 0 && i > 0 {
			inc++
		}
		id := names[i%len(names)]
		now += 10
		out = t.Step(&Input{Kind: Exited, Node: id, Incarnation: inc, Reason: "crash"}, now, out[:0])
		out = t.Step(&Input{Kind: Started, Node: id, Incarnation: inc + 1}, now, out[:0])
		if i%256 == 0 {
			changes = t.Changes(changes[:0])
		}
	}
	b.ReportMetric(float64(b.N)*2/b.Elapsed().Seconds(), "inputs/s")
}
