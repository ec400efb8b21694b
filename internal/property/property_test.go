package property_test

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

// TestSeed: cases are fixed where CI is set, unless the command line says
// otherwise, and other ones in each run elsewhere.
func TestSeed(t *testing.T) {
	t.Parallel()
	if os.Getenv("PROPERTY_CHILD") != "" {
		property.Check(t, func(rt *rapid.T) {
			t.Logf("drew %d", rapid.Uint64().Draw(rt, "n"))
		})
		return
	}
	run := func(ci string, args ...string) string {
		cmd := exec.Command(os.Args[0], append([]string{"-test.run=TestSeed$", "-test.v", "-rapid.checks=20"}, args...)...)
		cmd.Env = append(os.Environ(), "PROPERTY_CHILD=1", "CI="+ci)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, drawn, _ := strings.Cut(string(out), "=== CONT")
		drawn, _, _ = strings.Cut(drawn, "[rapid] OK")
		return drawn
	}
	if flag.Lookup("rapid.seed") == nil {
		t.Fatal("rapid has no seed")
	}
	fixed := run("true")
	if !strings.Contains(fixed, "drew") || run("true") != fixed {
		t.Error("with CI set two runs draw different cases")
	}
	if run("true", "-rapid.seed=7") == fixed {
		t.Error("the command line is not heeded")
	}
	if a, b := run(""), run(""); a == b {
		t.Error("without CI two runs draw the same cases")
	}
}
