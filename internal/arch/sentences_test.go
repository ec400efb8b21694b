package arch

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxWords is how long a sentence for operators may be.
const maxWords = 30

// TestSentences: the pages about supervision and runners are read in a hurry, so
// none of their sentences is longer than maxWords.
func TestSentences(t *testing.T) {
	var pages []string
	for _, dir := range []string{"supervision", "runner"} {
		found, err := filepath.Glob("../../docs/" + dir + "/*.md")
		if err != nil || len(found) < 3 {
			t.Fatal(found, err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		for _, s := range sentences(read(t, page)) {
			if n := wordsOf(s); n > maxWords {
				t.Errorf("%s: %d words: %s", filepath.Base(page), n, s)
			}
		}
	}
}

var (
	sentenceEnd = regexp.MustCompile(`[.?!]["*)]*(\s+|$)`)
	listItem    = regexp.MustCompile(`^\s*([-*]|\d+\.)\s+`)
	tableRule   = regexp.MustCompile(`^[|\s:-]+$`)
	linkTarget  = regexp.MustCompile(`\]\([^)]*\)`)
)

// sentences are those of a page's paragraphs, items of lists, and cells of tables.
// Code blocks and headings have none. A cell may be a list too, with semicolons.
func sentences(text string) []string {
	var found []string
	add := func(block string, end *regexp.Regexp) {
		for _, s := range end.Split(block, -1) {
			if s = strings.TrimSpace(s); s != "" {
				found = append(found, s)
			}
		}
	}
	var paragraph []string
	flush := func() {
		add(strings.Join(paragraph, " "), sentenceEnd)
		paragraph = nil
	}
	text = inline.ReplaceAllString(fence.ReplaceAllString(text, "\n"), "code")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(linkTarget.ReplaceAllString(line, "]"))
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			flush()
		case tableRule.MatchString(line):
		case strings.HasPrefix(line, "|"):
			for cell := range strings.SplitSeq(line, "|") {
				add(cell, regexp.MustCompile(sentenceEnd.String()+`|;\s`))
			}
		default:
			if listItem.MatchString(line) {
				flush()
				line = listItem.ReplaceAllString(line, "")
			}
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return found
}

var word = regexp.MustCompile(`[\p{L}\p{N}]`)

// wordsOf counts the words of a sentence. What is quoted as code is one.
func wordsOf(sentence string) int {
	n := 0
	for _, w := range strings.Fields(sentence) {
		if word.MatchString(w) {
			n++
		}
	}
	return n
}

func TestSentencesAreFound(t *testing.T) {
	page := "# A heading that is not a sentence\n\nOne is `smith tree --at 10m. No end` here. It\ngoes on, see\n[the page](a.b/c.md)!\n\n" +
		"- An item\n- Another. With two.\n1. And one\n   on two lines\n\n```sh\nno sentence. at all\n```\n| head | er |\n| --- | --- |\n| a; b | c. d |\nEnd"
	want := []string{
		"One is code here", "It goes on, see [the page]", "An item", "Another", "With two", "And one on two lines", "head", "er", "a", "b", "c", "d", "End",
	}
	if got := sentences(page); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if n := wordsOf("(one, two) — three; `code` 5"); n != 5 {
		t.Errorf("%d words", n)
	}
}
