package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const (
	// maxShown bounds how much of a setting's value a plan shows.
	maxShown = 4 << 10
	// maxFields bounds what a plan shows of all settings, so that it fits a message.
	maxFields = 128 << 10
)

// fit shortens the values that changes show, and returns how many of the changes fit an
// answer, from the first on. What a plan stands for is not shortened, see digest.
func fit(changes []contracts.PlannedChange) (shown int) {
	bytes := 0
	for i := range changes[:min(len(changes), contracts.MaxPlannedChanges)] {
		for j := range changes[i].Fields {
			f := &changes[i].Fields[j]
			f.From, f.To = shorten(f.From), shorten(f.To)
			bytes += len(f.From) + len(f.To)
		}
		if bytes > maxFields && i > 0 {
			return i
		}
		shown++
	}
	return shown
}

// shorten returns a value as a plan shows it. Those that differ beyond that still do.
func shorten(value string) string {
	if len(value) <= maxShown {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return fmt.Sprintf("%s (%d bytes, %s)", contracts.Clip(value, maxShown), len(value), hex.EncodeToString(sum[:4]))
}
