package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// verdict is a test that only remembers whether it failed.
type verdict struct {
	testing.TB
	failed bool
}

func (v *verdict) Errorf(string, ...any) { v.failed = true }

func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.golden")
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for got, failed := range map[string]bool{"one\n": false, "one": true, "two\n": true} {
		v := &verdict{TB: t}
		if Compare(v, path, got); v.failed != failed {
			t.Errorf("%q against one: failed %t, want %t", got, v.failed, failed)
		}
	}
}
