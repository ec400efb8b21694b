package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

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

// Untold is the cause of a refusal, for where the text itself must not be kept:
// it may quote the request, and requests may hold secrets.
func Untold(subject, code string) error {
	return fmt.Errorf("%s: refused with code %s; the text went to the requester alone, because it may quote the request", subject, code)
}

// jsonFault is what there is to say about an error of encoding/json without a
// word of what was read, or "".
func jsonFault(err error) string {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf(": a syntax error at byte %d", syntax.Offset)
	case errors.As(err, &wrong):
		kind, _, _ := strings.Cut(wrong.Value, " ") // a number follows
		return fmt.Sprintf(": a %s at byte %d, where %s is expected", kind, wrong.Offset, wrong.Type)
	}
	return ""
}
