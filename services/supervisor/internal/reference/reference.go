// Package reference writes references to environments into what specifications
// say of starts. The environments themselves are not in the log.
package reference

import (
	"encoding/json"
	"fmt"
	"strings"
)

// told is what a start in a specification says beside contracts.StartCommand.
type told struct {
	Environment string `json:"environment,omitempty"`
}

// Put makes the start of a specification, which is a JSON object with content,
// refer to an environment.
func Put(start json.RawMessage, ref string) (json.RawMessage, error) {
	raw, err := json.Marshal(told{ref})
	if err != nil || len(start) < 3 || start[0] != '{' {
		return nil, fmt.Errorf("start %.80q cannot refer to an environment", start)
	}
	return append(append(raw[:len(raw)-1], ','), start[1:]...), nil
}

// Of returns the reference to the environment that a start refers to, or "".
func Of(start json.RawMessage) string {
	var r told
	if json.Unmarshal(start, &r) != nil {
		return "" // whoever orders the start says so
	}
	return r.Environment
}

// Same reports whether two references are to environments with the same content:
// what stands before the first - is a digest of it.
func Same(a, b string) bool {
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	return a == b
}
