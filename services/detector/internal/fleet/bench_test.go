package fleet

import (
	"fmt"
	"math/bits"
	"runtime"
	"testing"
	"time"
)

// BenchmarkFleet is what one heartbeat costs through the core: looking up the
// name, learning the gap and all timers that fire meanwhile, with heartbeats of
// agents in shuffled order, up to 3 % early or late. bytes/agent is the live heap without the names.
func BenchmarkFleet(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("agent-%07d", i)
			}
			before := liveHeap()
			f, err := New(Config{MaxAgents: n, Tick: tick})
			if err != nil {
				b.Fatal(err)
			}
			const interval = 10 * time.Second
			step := interval / time.Duration(n)
			block := 1 << (bits.Len(uint(n*3/100)) - 1)
			next, dice, swap := Instant(0), uint32(1), 0
			beat := func(k int) {
				if k%n == 0 { // another order each round makes gaps vary
					dice = dice*1664525 + 1013904223
					swap = int(dice>>8) % block
				}
				now := Instant(k) * step
				for ; next <= now; next += tick {
					if found := f.Tick(next); len(found) > 0 && found[0].Kind == Failed {
						b.Fatalf("%+v", found[0])
					}
				}
				i := k % n
				if i|(block-1) < n {
					i ^= swap
				}
				i = i * 7919 % n // 7919 is coprime to n
				f.Beat(now, Beat{Agent: names[i], Seq: uint64(k/n + 1), About: About{Interval: interval}})
			}
			k := 0
			for ; k < 12*n; k++ { // past the first samples
				beat(k)
			}
			size := float64(liveHeap()-before) / float64(n)
			b.ResetTimer()
			for range b.N {
				beat(k)
				k++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/beat")
			b.ReportMetric(size, "bytes/agent")
			runtime.KeepAlive(f)
		})
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
