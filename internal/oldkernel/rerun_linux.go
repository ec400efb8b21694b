package oldkernel

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// rerunning is set for the tests that Rerun runs.
const rerunning = "OLDKERNEL_RERUNNING"

// Rerun runs tests of this binary, named by a pattern for -test.run, once more as on
// an older kernel.
func Rerun(t *testing.T, pattern string) {
	t.Helper()
	if Is() {
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run="+pattern)
	cmd.Env = append(os.Environ(), rerunning+"=1")
	Wrap(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("on an older kernel: %v\n%s", err, out)
	}
}

// Is reports whether this test runs as on an older kernel.
func Is() bool { return os.Getenv(rerunning) != "" }
