package fleet

import (
	"math"
	"time"
)

// minTargetLevel keeps a target that allows more mistakes than there are
// heartbeats from suspecting every heartbeat.
const minTargetLevel = 1

// targetLevel is the threshold at which an agent with that interval, alive, is
// found failed so many times a day: of the day's heartbeats a share of
// 10^-threshold is taken for a death.
func targetLevel(interval time.Duration, mistakes float64) float64 {
	beats := float64(24*time.Hour) / float64(interval)
	return min(max(math.Log10(beats/mistakes), minTargetLevel), MaxThreshold)
}
