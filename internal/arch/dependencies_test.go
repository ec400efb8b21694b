package arch

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies holds docs/dependencies.md to go.mod.
func TestDependencies(t *testing.T) {
	if _, err := os.Stat("../../go.mod"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			described[name] = true
		}
	}
	for _, r := range mod.Require {
		if !r.Indirect && !described[r.Path] {
			t.Errorf("docs/dependencies.md does not say why go.mod has %s", r.Path)
		}
		delete(described, r.Path)
	}
	for name := range described {
		t.Errorf("docs/dependencies.md describes %s, which go.mod does not have", name)
	}
}
