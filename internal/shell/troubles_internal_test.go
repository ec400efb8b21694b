package shell

import (
	"fmt"
	"testing"
	"time"
)

// However many kinds of trouble there are, they take bounded memory, and those
// beyond the bound are limited as one.
func TestTroublesAreBounded(t *testing.T) {
	r := newTroubles(nil)
	now := time.Unix(0, 0)
	logged := 0
	for i := range 10 * maxTroubles {
		if _, due := r.due(trouble{"inbox", fmt.Sprint(i)}, now); due {
			logged++
		}
	}
	if logged > maxTroubles+1 || len(r.last) > maxTroubles+1 {
		t.Errorf("%d logged, %d remembered", logged, len(r.last))
	}
	if suppressed, due := r.due(trouble{"inbox", "0"}, now.Add(troubleEvery)); !due || suppressed != 0 {
		t.Errorf("%d, %t", suppressed, due)
	}
	if _, due := r.due(trouble{"inbox", "new"}, now.Add(troubleEvery)); !due || len(r.last) > maxTroubles {
		t.Errorf("%t, %d remembered", due, len(r.last))
	}
}
