package contracts

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    string
		most int
		want string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "…"},
		{"abcde", 4, "a…"},
		{"aéé", 5, "aéé"},
		{"aééé", 6, "aé…"},
		{"aééé", 5, "a…"}, // not half an é
		{"aé", 2, "a"},    // no room for the mark
		{"abc", -1, ""},
		{"\xff", 1, "\xff"}, // what fits is left
		{"a\xffbcdef", 6, "ab…"},
	} {
		if got := Clip(c.s, c.most); got != c.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.s, c.most, got, c.want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("wörter, viele", 9)
	f.Add("\xff\xff\xff\xff", 3)
	f.Fuzz(func(t *testing.T, s string, most int) {
		got := Clip(s, most)
		if got != s && !utf8.ValidString(got) {
			t.Fatalf("%q at %d: %q is no text", s, most, got)
		}
		if len(got) > max(most, 0) || len(s) <= most && got != s {
			t.Fatalf("%q at %d: %q", s, most, got)
		}
		if utf8.ValidString(s) && !strings.HasPrefix(s, strings.TrimSuffix(got, clipMark)) {
			t.Fatalf("%q at %d: %q is not its beginning", s, most, got)
		}
		if again := Clip(got, most); again != got {
			t.Fatalf("%q became %q", got, again)
		}
	})
}
