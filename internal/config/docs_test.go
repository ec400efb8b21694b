package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const manual = "../../docs/configuration.md"

var yamlBlock = regexp.MustCompile("(?ms)^```yaml([^\n]*)\n(.*?)^```$")

// Every YAML block of the manual loads, the one of defaults is the defaults,
// every key the code knows is in the manual, and every override it names sets
// something.
func TestManual(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 6 {
		t.Fatalf("only %d YAML blocks found", len(blocks))
	}
	defaults := 0
	for _, b := range blocks {
		f, err := Parse("manual", []byte(b[2]))
		if err != nil {
			t.Errorf("%v in\n%s", err, b[2])
			continue
		}
		if strings.TrimSpace(b[1]) != "defaults" {
			continue
		}
		defaults++
		f.Path = ""
		if diff := cmp.Diff(Default(), f, cmpopts.IgnoreUnexported(Node{}, File{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	if defaults != 1 {
		t.Errorf("%d blocks of defaults", defaults)
	}
	for _, name := range regexp.MustCompile(`(?m)^SMITH_\w+=\w+`).FindAllString(string(text), -1) {
		if f, err := ParseEnv("", nil, []string{name}); err != nil || cmp.Equal(f, Default(), cmpopts.IgnoreUnexported(Node{}, File{})) {
			t.Errorf("%s sets nothing: %v", name, err)
		}
	}
	for _, key := range knownKeys(t) {
		if !regexp.MustCompile("[`.]"+key+"`").Match(text) && !slices.Contains(sectionKeys, key) {
			t.Errorf("%s does not explain the key %q", manual, key)
		}
	}
}

// sectionKeys are known to the manual as headings and first parts of paths.
var sectionKeys = []string{"supervision_tree", "restart_policies", "circuit_breakers", "bulkheads", "retries", "synadia", "backoff_strategy", "types", "services", "operations", "correlation", "output"}

// knownKeys gives every key that the code asks any section for.
func knownKeys(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/good/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{file: "everything.yaml", env: newOverrides(nil), seen: map[string]bool{}, places: map[string]Position{}, known: map[string]bool{}}
	d.read(d.parse(data), Default())
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	keys := []string{}
	for k := range d.known {
		keys = append(keys, k)
	}
	if len(keys) < 70 {
		t.Errorf("only %d keys known", len(keys))
	}
	slices.Sort(keys)
	return keys
}
