package fleet

import "testing"

// TestProcess: a process that begins to count anew is another.
func TestProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before uint64
		now    uint64
		want   Process
	}{{0, 5, UntoldProcess}, {5, 0, UntoldProcess}, {5, 6, SameProcess}, {5, 1, NewProcess}, {5, 5, NewProcess}} {
		var a agent
		a.seq = c.before
		if got := a.process(c.now); got != c.want {
			t.Errorf("after %d, %d: %d, want %d", c.before, c.now, got, c.want)
		}
	}
}
