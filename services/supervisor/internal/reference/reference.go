// Package reference reads what specifications say of starts, and writes references
// to environments into it. The environments themselves are not in the log.
package reference

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// told is what a start in a specification says beside contracts.StartCommand.
type told struct {
	Environment string `json:"environment,omitempty"`
}

// Command returns what a start says of what a runner is told. It was made by this
// program; what cannot be read shows as empty, and fails the start with a reason.
func Command(start json.RawMessage) contracts.StartCommand {
	var c contracts.StartCommand
	_ = json.Unmarshal(start, &c)
	return c
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

// Join returns an environment together with the variables that the command of its
// agent refers to, as they are kept: these under ${NAME}, which no environment has.
func Join(env, vars map[string]string) map[string]string {
	if len(vars) == 0 {
		return env
	}
	out := make(map[string]string, len(env)+len(vars))
	maps.Copy(out, env)
	for name, value := range vars {
		out["${"+name+"}"] = value
	}
	return out
}

// Split takes apart what [Join] put together.
func Split(kept map[string]string) (env, vars map[string]string) {
	env, vars = map[string]string{}, map[string]string{}
	for name, value := range kept {
		if inner, ok := strings.CutPrefix(name, "${"); ok {
			vars[strings.TrimSuffix(inner, "}")] = value
		} else {
			env[name] = value
		}
	}
	return env, vars
}
