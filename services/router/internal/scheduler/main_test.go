package scheduler

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes the properties look harder than rapid's defaults, unless told
// otherwise on the command line.
func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "400", "rapid.steps": "150"} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}
