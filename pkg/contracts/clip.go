package contracts

import "strings"

// clipMark is at the end of what was cut.
const clipMark = "…"

// Clip cuts a text to at most so many bytes, between characters, and marks that
// it did. What is cut is valid UTF-8, so that it is the same after JSON; what
// fits is left as it is.
func Clip(s string, most int) string {
	switch {
	case len(s) <= most:
		return s
	case most < len(clipMark):
		return strings.ToValidUTF8(s[:max(most, 0)], "")
	}
	return strings.ToValidUTF8(s[:most-len(clipMark)], "") + clipMark
}
