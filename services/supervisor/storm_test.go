package supervisor

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStorm: when more agents have ended than one decision takes, decisions
// follow one another without a gap, each agent is restarted once, and a successor
// finds what its predecessor left.
func TestStorm(t *testing.T) {
	const agents = 450
	inWorld(t, `
supervision_tree:
  verification: {stabilisation: 0s}
  tree:
    - name: pool
      children:
        - {name: w, count: `+strconv.Itoa(agents)+`, command: [x]}
`, func(t *testing.T, w *world) {
		pool := w.file.Tree.Root.Children[0].Node
		pool.Policy.MaxRestarts, pool.Policy.TimeWindow = 1<<30, time.Millisecond
		w.up()()
		for i := range agents {
			w.runner.exit(fmt.Sprint("w-", i+1), 1)
		}
		stop := w.supervise("s2")
		want := strings.Repeat(", w running 2", agents)
		for _, supervisor := range []string{"s2", "s3"} {
			got := w.settled()
			for i := agents; i > 0; i-- {
				got = strings.Replace(got, fmt.Sprint(", w-", i, " "), ", w ", 1)
			}
			w.want("under "+supervisor, got, "root running, pool running"+want)
			if supervisor == "s2" {
				stop()
				w.supervise("s3")
			}
		}
		if log := w.runner.takeLog(); strings.Count(log, "start ") != agents {
			t.Errorf("%d starts of %d agents", strings.Count(log, "start "), agents)
		}
		number, largest := uint64(0), 0
		for _, d := range w.decisions() {
			if d.Number != number && d.Number != number+1 {
				t.Fatalf("decision %d follows %d", d.Number, number)
			}
			number, largest = d.Number, max(largest, len(d.Inputs))
		}
		if largest < 100 {
			t.Errorf("the largest decision is upon %d inputs: that is no storm", largest)
		}
	})
}
