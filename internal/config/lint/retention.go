package lint

import (
	"fmt"
	"time"
)

// ShortRetention: the log forgets so soon that hardly anything can be told of the
// past.
const ShortRetention Rule = "short-retention"

const (
	// leastAge and leastBytes are what a log should keep to be of use.
	leastAge   = time.Hour
	leastBytes = 64 << 20
	// eventBytes is what a small event takes.
	eventBytes = 500
)

func (c *checker) shortRetention() {
	const setting = "supervision_tree.event_store."
	if age := c.f.EventStore.MaxAge; age < leastAge {
		c.warn(setting+"max_age", fmt.Sprintf("set it to at least %s", dur(leastAge)),
			"events are forgotten after %s: smith why, tree --at and rehearse reach back no further, and what agents reported while the supervisor was away for longer is lost; what operators ordered is kept apart from the log", dur(age))
	}
	if most := c.f.EventStore.MaxBytes; most > 0 && most < leastBytes {
		c.warn(setting+"max_bytes", "set it to at least 64MiB, or leave it out",
			"the log holds some %d events, so that a storm of failures or a busy hour pushes out what smith why, tree --at and rehearse need; what operators ordered is kept apart from the log", most/eventBytes)
	}
}
