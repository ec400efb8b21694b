package detector

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/config/lint"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// TestLintTellsTheTruth plays what smith config check says of heartbeats.
func TestLintTellsTheTruth(t *testing.T) {
	const start = fleet.Instant(time.Hour)
	for _, c := range []struct {
		file  string
		says  string
		agent string
		// beats are when heartbeats come; then there is silence.
		beats []time.Duration
		// failed is when the verdict comes after the start, at the least and at
		// the most.
		from, to time.Duration
	}{
		{"hasty-verdict", `agent "own", which beats every 1s, is taken for dead, until 10 of its heartbeats were seen, when a heartbeat is only late`, "own", every(time.Second, 3, 1200*time.Millisecond, 8), 3 * time.Second, 3200 * time.Millisecond},
		{"hasty-verdict.ok", "", "own", every(time.Second, 3, 1200*time.Millisecond, 8), 11 * time.Second, 20 * time.Second},
		{"hasty-verdict", `agent "tight" beats every 10s and has 15s for its first heartbeat: if that one is lost the next comes too late`, "tight", []time.Duration{20 * time.Second}, 15 * time.Second, 15100 * time.Millisecond},
		{"hasty-verdict.ok", "", "tight", []time.Duration{19 * time.Second}, 20 * time.Second, time.Minute},
		{"late-loss", `"sleepy-1", which beats every 30s, may take 3 missed heartbeats, 1m30s, for that: not 1m`, "sleepy-1", every(30*time.Second, 4, 0, 0), 180 * time.Second, 181 * time.Second},
		{"no-effect", `with algorithm fixed, phi_threshold counts missed heartbeats where it is given, so an agent that beats every 5s is taken for dead after 40s`, "writer", every(5*time.Second, 4, 0, 0), 55 * time.Second, 56 * time.Second},
	} {
		data, err := os.ReadFile("../../internal/config/lint/testdata/" + c.file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		f, err := config.Parse(c.file, data)
		if err != nil {
			t.Fatal(err)
		}
		said := c.says == ""
		for _, w := range lint.Check(f) {
			said = said || strings.Contains(w.Message, c.says)
		}
		if !said {
			t.Errorf("%s: it does not say %q", c.file, c.says)
		}
		judge, err := fleet.New(FromFile(f).rules())
		if err != nil {
			t.Fatal(err)
		}
		failed := time.Duration(0)
		take := func(found []fleet.Finding, at time.Duration) {
			for _, x := range found {
				if x.Kind == fleet.Failed && failed == 0 {
					failed = at
				}
			}
		}
		about := fleet.About{}
		deadline := time.Duration(0)
		for _, a := range f.Tree.Agents() {
			if a.Name == c.agent {
				about.Interval, deadline = a.HeartbeatInterval, a.StartDeadline
			}
		}
		judge.Tick(start)
		take(judge.Started(start, fleet.Start{Agent: c.agent, Incarnation: 1, About: about, Deadline: deadline}), 0)
		const tick = 20 * time.Millisecond
		for at := tick; at < 5*time.Minute && failed == 0; at += tick {
			for len(c.beats) > 0 && c.beats[0] <= at {
				c.beats = c.beats[1:]
				take(judge.Beat(start+fleet.Instant(at), fleet.Beat{Agent: c.agent, Incarnation: 1, About: about}), at)
			}
			take(judge.Tick(start+fleet.Instant(at)), at)
		}
		if failed < c.from || failed > c.to {
			t.Errorf("%s: %s was taken for dead after %s, not between %s and %s", c.file, c.agent, failed, c.from, c.to)
		}
	}
}

// every gives n times an interval apart, then m times another.
func every(interval time.Duration, n int, then time.Duration, m int) (at []time.Duration) {
	now := time.Duration(0)
	for i := range n + m {
		if i > 0 && i < n {
			now += interval
		} else if i > 0 {
			now += then
		}
		at = append(at, now)
	}
	return at
}
