package sim

import (
	"time"
)

// harden gives some scenarios hosts as they are: containers that restart, reboots
// that take a minute, full disks, hosts that cannot start anything. It draws from a
// stream of its own, so that the others are what they would be without.
func (s *Scenario) harden() {
	r := streamOf(s.Seed, "hosts")
	if !r.chance(40) {
		return
	}
	for range 1 + r.below(3) {
		f := Fault{
			At: r.between(0, s.Calm), Of: r.below(s.Runners), For: r.between(100*time.Millisecond, 8*time.Second),
			Kind: pick(&r, RestartContainer, RestartContainer, FillDisk, Starve, RebootHost),
		}
		if f.Kind == RebootHost {
			f.For = pick(&r, time.Second, time.Minute)
		}
		s.Faults = append(s.Faults, f)
	}
	s.order()
	if r.chance(10) {
		s.Calm = max(s.Calm, s.lastFault()+62*time.Second) // so that the slowest reboot is over
	}
}
