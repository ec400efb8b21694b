package procfs

import (
	"math"
	"time"
)

// tick is what the kernel counts in towards programs, on all architectures that
// Go runs on.
const tick = 10 * time.Millisecond

// ToTicks returns how many ticks a time takes, rounded down.
func ToTicks(d time.Duration) uint64 { return uint64(max(d, 0) / tick) }

// FromTicks returns how long so many ticks are.
func FromTicks(n uint64) time.Duration {
	return time.Duration(min(n, uint64(math.MaxInt64/tick))) * tick
}
