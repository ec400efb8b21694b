package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/golden"
)

func check(t *testing.T, path string) []Finding {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, filepath.Base(path), string(data))
}

func parse(t *testing.T, name, text string) []Finding {
	t.Helper()
	f, err := config.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Check(f)
}

func lines(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// TestRules: each rule has a file that trips it alone, in the words of its golden
// file, and a neighbour which trips nothing at all.
func TestRules(t *testing.T) {
	for _, rule := range Rules() {
		t.Run(string(rule), func(t *testing.T) {
			path := filepath.Join("testdata", string(rule))
			found := check(t, path+".yaml")
			if len(found) == 0 {
				t.Error("nothing found")
			}
			for _, f := range found {
				if f.Rule != rule {
					t.Errorf("it trips %s too: %s", f.Rule, f)
				}
				if f.Line < 2 || f.Column < 1 || f.Message == "" || f.Advice == "" || f.Setting == "" {
					t.Errorf("without a place or words: %+v", f)
				}
			}
			golden.Compare(t, path+".golden", lines(found))
			if found := check(t, path+".ok.yaml"); len(found) > 0 {
				t.Errorf("the neighbour is not clean:\n%s", lines(found))
			}
		})
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		if !slices.Contains(Rules(), Rule(name)) {
			t.Errorf("%s: there is no such rule", path)
		}
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml[^\n]*\n(.*?)^```$")

// TestExamplesAreClean: what the documentation tells people to write has no
// findings, and neither have the defaults.
func TestExamplesAreClean(t *testing.T) {
	if found := Check(config.Default()); len(found) > 0 {
		t.Errorf("the defaults:\n%s", lines(found))
	}
	if found := check(t, "../testdata/good/requirements.yaml"); len(found) > 0 {
		t.Errorf("requirements.yaml:\n%s", lines(found))
	}
	blocks := 0
	pages, err := filepath.Glob("../../../docs/supervision/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	for _, page := range append(pages, "../../../README.md", "../../../deploy/README.md", "../../../docs/configuration.md", "../../../docs/detection.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			blocks++
			if found := parse(t, page, b[1]); len(found) > 0 {
				t.Errorf("in %s:\n%s\n%s", page, b[1], lines(found))
			}
		}
	}
	if blocks < 8 {
		t.Errorf("only %d examples found", blocks)
	}
}

// TestManual: every rule is explained.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range Rules() {
		if !strings.Contains(string(text), "| `"+string(rule)+"` |") {
			t.Errorf("docs/configuration.md does not explain the rule %q", rule)
		}
	}
}
