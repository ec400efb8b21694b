package contracts

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	vars := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "a$b ${A}", "EMPTY": "", "N_1": "1"}[name]
		return v, ok
	}
	for text, want := range map[string]string{
		"":                          "",
		"plain $HOME $$ $(x) {y}":   "plain $HOME $$ $(x) {y}",
		"<${A}>${N_1}":              "<a$b ${A}>1", // what a variable says is not expanded
		"${EMPTY}${EMPTY:-x}":       "x",
		"${NONE:-a b}${NONE:-}":     "a b",
		"${NONE:-:-}":               ":-",
		"$${A} $$${A}":              "${A} $${A}",
		"for i in 1; do ${A:-}; $$": "for i in 1; do a$b ${A}; $$",
	} {
		if got, err := Expand(text, vars); got != want || err != nil {
			t.Errorf("%q became %q, %v; want %q", text, got, err, want)
		}
	}
	var unset *UnsetError
	if _, err := Expand("${A}${NONE}", vars); !errors.As(err, &unset) || unset.Name != "NONE" {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"${", "${A", "${}", "${1A}", "${A-x}", "${A:=x}", "${a b}", "${NONE:-${A}}"} {
		if got, err := Expand(text, vars); err == nil || strings.Contains(err.Error(), "a$b") {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// FuzzExpand: what has no reference stays; an escaped text comes back.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "$", "${A}", "$${A}", "${A:-x}", "$$", "${"} {
		f.Add(s)
	}
	none := func(string) (string, bool) { return "", false }
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Expand(text, none)
		if err == nil && !strings.Contains(text, "${") && got != text {
			t.Errorf("%q became %q", text, got)
		}
		if escaped := strings.ReplaceAll(text, "${", "$${"); !strings.Contains(text, "$${") {
			if got, err := Expand(escaped, none); err != nil || got != text {
				t.Errorf("%q became %q, %v", escaped, got, err)
			}
		}
	})
}
