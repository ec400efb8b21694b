package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pageLink is a link to a file of this repository, with a heading of it or without.
var pageLink = regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]+)?\)`)

// TestLinks: every link of a page leads to a file that exists, and to a heading of
// it where it names one.
func TestLinks(t *testing.T) {
	links := 0
	err := filepath.WalkDir("../..", func(page string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "node_modules") {
			return skip(err)
		}
		if filepath.Ext(page) != ".md" {
			return nil
		}
		for _, m := range pageLink.FindAllStringSubmatch(withoutCode(read(t, page)), -1) {
			links++
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
				continue
			}
			if heading := strings.TrimPrefix(m[2], "#"); heading != "" && !headings(read(t, to))[heading] {
				t.Errorf("%s links to %s%s; the page has no such heading", page, m[1], m[2])
			}
		}
		return nil
	})
	if err != nil || links < 50 {
		t.Errorf("%d links found: %v", links, err)
	}
}

// skip passes an error on, and skips a directory where there is none.
func skip(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

var (
	fence    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline   = regexp.MustCompile("`[^`\n]*`")
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// withoutCode takes code out of a page, blocks and what is quoted in sentences.
func withoutCode(text string) string {
	return inline.ReplaceAllString(fence.ReplaceAllString(text, ""), "``")
}

// headings are those of a page as links name them.
func headings(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		out[strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return out
}
