package replay

import (
	"strings"
	"testing"
	"time"
)

// A request is refused in one line, or gives a replay whose events all have
// their time.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(``))
	f.Add([]byte(`{"types":["agent.failed"],"entity":"a","speed":10,"cursor":4,"limit":2}`))
	f.Add([]byte(`{"from":"2026-01-02T15:04:05Z","to":"2026-01-02T15:04:05Z","speed":-1,"limit":-1}`))
	f.Add([]byte(`{"speed":1e308,"sources":["detector"]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		job, err := decode(body)
		if err != nil {
			if job != nil || err.Error() == "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%+v is refused with %q", job, err)
			}
			return
		}
		if job.limit < 0 {
			t.Fatalf("limit %d", job.limit)
		}
		now := time.Unix(2e9, 0)
		for _, stored := range []int64{1e9, 1e9 + 1, 0, 1e12} {
			if wait := job.pace.Due(time.Unix(stored, 0), now); wait < 0 || stored <= 1e9 && wait != 0 {
				t.Fatalf("pace %+v: waits %s for %d", job.pace, wait, stored)
			}
		}
	})
}
