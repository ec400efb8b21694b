package contracts

import (
	"fmt"
	"strings"
)

// Expand replaces each ${NAME} in text by the variable's value, and each
// ${NAME:-default} by the default where the variable is unset or empty. $${ stands
// for ${ itself; any other $ for itself, so that shells see theirs. A variable
// without value and default, or a reference that is not understood, is an error.
// No error quotes a value.
func Expand(text string, lookup func(name string) (value string, set bool)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString(before + "{")
			text = rest
			continue
		}
		out.WriteString(before)
		name, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("${%.40s has no }; write $${ for ${ itself", name)
		}
		name, fallback, hasDefault := strings.Cut(name, ":-")
		if !variableName.MatchString(name) || strings.Contains(fallback, "${") {
			return "", fmt.Errorf("${%.40s} is not ${NAME} or ${NAME:-default}; write $${ for ${ itself", name)
		}
		value, set := lookup(name)
		switch {
		case hasDefault && value == "":
			value = fallback
		case !set:
			return "", &UnsetError{name}
		}
		out.WriteString(value)
		text = rest
	}
}

// UnsetError says that a variable has neither value nor default.
type UnsetError struct{ Name string }

func (e *UnsetError) Error() string {
	return fmt.Sprintf("${%.64s}: the variable is not set, and there is no default; set it, write ${%.64s:-default}, or $${ for ${ itself", e.Name, e.Name)
}
