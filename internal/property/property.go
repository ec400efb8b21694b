// Package property runs properties: claims that are checked on drawn cases.
package property

import (
	"flag"
	"os"

	"pgregory.net/rapid"
)

// seed is that of the cases which are drawn where CI is set in the environment:
// whether a change may go in must not hang on luck. Elsewhere each run draws
// others, and `task explore` many.
const seed = "1"

func init() {
	if os.Getenv("CI") != "" {
		// Before the command line is read, which may say otherwise.
		if err := flag.Set("rapid.seed", seed); err != nil {
			panic(err) // rapid does not know its own flag any more
		}
	}
}

// Check checks a property as [rapid.Check] does.
func Check(t rapid.TB, prop func(*rapid.T)) {
	t.Helper()
	rapid.Check(t, prop)
}
