package reaper

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// Which ends belong to a shutdown: those of its boot from just before its first signal
// until all was killed. Neither a crash before, nor one long after a signal that ended
// nothing.
func TestShutdown(t *testing.T) {
	t.Parallel()
	const boot = process.Epoch("boot-1 pid:[7] 3")
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	told := func(at ...time.Duration) (s shutdown) {
		for _, d := range at {
			s = s.again(begin.Add(d))
		}
		s.Process = process.Identity{PID: 1, Epoch: boot}
		return s
	}
	for name, c := range map[string]struct {
		told  shutdown
		at    time.Duration
		epoch process.Epoch
		want  bool
	}{
		"never told":                    {shutdown{}, 0, boot, false},
		"at once":                       {told(0), 0, boot, true},
		"late in its grace":             {told(0), 80 * time.Second, boot, true},
		"had the signal a bit earlier":  {told(0), -500 * time.Millisecond, boot, true},
		"a crash before":                {told(0), -2 * time.Second, boot, false},
		"a crash long after":            {told(0), time.Hour, boot, false},
		"of another boot":               {told(0), 0, "boot-2 pid:[7] 3", false},
		"between a stop and the others": {told(0, 20*time.Second), 3 * time.Second, boot, true},
		"after a signal and before the shutdown, an hour later": {told(0, time.Hour), 30 * time.Minute, boot, false},
		"in the shutdown, an hour after a signal":               {told(0, time.Hour), time.Hour + time.Second, boot, true},
	} {
		if got := c.told.ended(Exit{Process: process.Identity{PID: 9, Epoch: c.epoch}, At: begin.Add(c.at)}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzDecodeShutdown(f *testing.F) {
	b, _ := json.Marshal(shutdown{Process: process.Identity{PID: 7, Epoch: "e"}, First: time.Unix(1, 0).UTC(), Last: time.Unix(2, 0).UTC()})
	f.Add(b)
	f.Add([]byte(`{"process":{"pid":7}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeShutdown(b)
		if err == nil && (s.Process.Epoch == "" || s.ended(Exit{At: s.First.Add(-time.Hour), Process: s.Process})) {
			t.Errorf("%+v", s)
		}
	})
}
