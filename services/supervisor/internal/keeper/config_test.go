package keeper

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestKeptText: a file's text is kept, packed if it is long, so that one value of the
// bucket has room for it.
func TestKeptText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"supervision_tree: {tree: []}", strings.Repeat("# a line\n", 400_000)} {
		vars := packed(text)
		kept := 0
		for _, v := range vars {
			kept += len(v)
		}
		if got, err := unpacked(vars); got != text || err != nil || kept > contracts.MaxRequestBytes {
			t.Errorf("%d bytes are kept as %d, and read as %d, %v", len(text), kept, len(got), err)
		}
	}
	if vars := packed(""); vars != nil {
		t.Errorf("no file is kept as %v", vars)
	}
	if _, err := unpacked(map[string]string{packedVariable: "?"}); err == nil {
		t.Error("what is not base64 is read")
	}
}
