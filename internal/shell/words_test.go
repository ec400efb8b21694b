package shell_test

import (
	"errors"
	"testing"

	"github.com/mistersmith/mistersmith/internal/shell"
)

func TestOneLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                  "",
		"as it is: é\"":     "as it is: é\"",
		"a\r\nb\tc\x00\x7f": "a ; b c  ",
		"half a rune \xc3":  "half a rune \ufffd",
		errors.Join(errors.New("one"), errors.New("another")).Error(): "one; another",
	} {
		if got := shell.OneLine(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}
