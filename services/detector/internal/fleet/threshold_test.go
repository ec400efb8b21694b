package fleet

import (
	"math"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

// The default threshold makes mistakes as rare in time for agents that beat
// more often; a configured one is taken as written.
func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		name     string
		cfg      Config
		interval time.Duration
		want     float64
	}{
		{"default", Config{}, time.Second, 4.3},
		{"default, slow agent", Config{}, 10 * time.Second, 4.3},
		{"default, quick agent", Config{}, 100 * time.Millisecond, 5.3},
		{"configured", Config{Threshold: 4}, 100 * time.Millisecond, 4},
		{"by a target", Config{TargetMistakes: 8.64}, time.Second, 4},
		{"by a target, quick agent", Config{TargetMistakes: 8.64}, 100 * time.Millisecond, 5},
		{"by a target, slow agent", Config{TargetMistakes: 0.864}, 10 * time.Second, 4},
		{"by a target that allows everything", Config{TargetMistakes: 10_000}, time.Minute, 1},
		{"configured beats the target", Config{Threshold: 6, TargetMistakes: 1}, time.Second, 6},
		{"one agent's own beside a target", Config{TargetMistakes: 1, Overrides: map[string]Override{"a": {Threshold: 6}}}, time.Second, 6},
		{"one agent's own", Config{Overrides: map[string]Override{"a": {Threshold: 6}}}, 100 * time.Millisecond, 6},
		{"normal", Config{Suspicion: suspicion.Settings{Algorithm: suspicion.Normal}}, 100 * time.Millisecond, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.cfg)
			w.take(w.f.Beat(w.now, Beat{Agent: "a", Seq: 1, About: About{Interval: c.interval}}))
			v, _ := w.f.Agent(w.now, "a")
			if math.Abs(v.Evidence.Threshold-c.want) > 1e-9 {
				t.Errorf("threshold %g, want %g", v.Evidence.Threshold, c.want)
			}
		})
	}
}
