package process

import "testing"

func TestEpochEnded(t *testing.T) {
	t.Parallel()
	const e = Epoch("boot-1 pid:[4026531836] 17")
	for now, want := range map[Epoch]string{
		e:                            "",
		"boot-2 pid:[4026531836] 17": "host rebooted",
		"boot-2 pid:[1] 5":           "host rebooted",
		"boot-1 pid:[4026531999] 17": "container restarted",
		// The kernel gave the inode to the next container.
		"boot-1 pid:[4026531836] 99": "container restarted",
		// An older runner did not record when init started.
		"boot-1 pid:[4026531836]": "",
		"":                        "",
	} {
		if got := e.Ended(now); got != want {
			t.Errorf("%q to %q: %q, want %q", e, now, got, want)
		}
		if got := now.Ended(e); got != want {
			t.Errorf("%q to %q: %q, want %q", now, e, got, want)
		}
	}
}
