package arch

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestArchitecturePage holds docs/architecture.md to the list of cores, and to
// what else is in the services.
func TestArchitecturePage(t *testing.T) {
	pkgs, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	var around []string
	for _, p := range pkgs {
		if within, _ := path.Match("services/*/internal/*", p.path); within && !slices.Contains(cores, p.path) {
			around = append(around, p.path)
		}
	}
	page := read(t, "../../docs/architecture.md")
	for row, want := range map[string][]string{"| pure cores:": slices.Clone(cores), "| around the cores:": around} {
		cell := ""
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, row) {
				cell = strings.Split(line, "|")[1]
			}
		}
		got := paths(cell)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("docs/architecture.md, row %q (- as it is, + as the page says):\n%s", row, diff)
		}
	}
}

// TestMapOfTheCode: each package is in a place that README.md tells of.
func TestMapOfTheCode(t *testing.T) {
	pkgs, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(read(t, "../../README.md"), "## Map of the code")
	if !found {
		t.Fatal("README.md has no map of the code")
	}
	var places []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			places = append(places, paths(cells[1])...)
		}
	}
	for _, p := range pkgs {
		if !slices.ContainsFunc(places, func(place string) bool { return under(p.path, place) }) {
			t.Errorf("README.md's map of the code does not tell of %s", p.path)
		}
	}
	for _, place := range places {
		if _, err := os.Stat(path.Join("../..", place)); err != nil {
			t.Errorf("README.md's map of the code tells of %s: %v", place, err)
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// paths are those quoted in a cell, with a/{b,c} as a/b and a/c, and what a
// placeholder in angle brackets stands for as what is above it.
func paths(cell string) (out []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		name, _, _ := strings.Cut(m[1], "/<")
		base, list, several := strings.Cut(name, "{")
		if !several {
			out = append(out, name)
			continue
		}
		for one := range strings.SplitSeq(strings.TrimSuffix(list, "}"), ",") {
			out = append(out, base+one)
		}
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
