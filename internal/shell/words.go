package shell

import "strings"

// OneLine makes a text fit for a header and for one line: no control characters.
// Joined errors stay apart.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ReplaceAll(s, "\n", "; "))
}
