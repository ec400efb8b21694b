package procfs

import (
	"time"

	"golang.org/x/sys/unix"
)

// Ticks is the time in which start times count: clock ticks since boot, on
// while the host sleeps, and no wall clock's.
func Ticks() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // Linux has had this clock since 2.6.39
	}
	return ToTicks(time.Duration(ts.Nano()))
}
