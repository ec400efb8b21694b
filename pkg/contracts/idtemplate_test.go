package contracts

import (
	"errors"
	"testing"
)

func TestIDTemplate(t *testing.T) {
	words := map[string]string{"agent": "cc", "owner": "acme", "name": "main"}
	for _, c := range []struct{ template, want string }{
		{"{agent}-{owner}-{name}", "cc-acme-main"},
		{"x_{name}", "x_main"},
		{"{name}{name}", "mainmain"},
		{"", ""},
		{"fixed", ""},
		{"{agent", ""},
		{"{agent}}", ""},
		{"{nobody}", ""},
		{"{agent}.{name}", ""},
		{"ä{agent}", ""},
		{"{}", ""},
	} {
		tmpl, err := ParseIDTemplate(c.template, "agent", "owner", "name")
		if c.want == "" {
			if !errors.Is(err, ErrIDTemplate) {
				t.Errorf("%q: %v", c.template, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		got, err := tmpl.ID(func(w string) string { return words[w] })
		if got != c.want || err != nil {
			t.Errorf("%q makes %q, %v; want %q", c.template, got, err, c.want)
		}
	}
	tmpl, err := ParseIDTemplate("{agent}", "agent")
	if err != nil || !tmpl.Has("agent") || tmpl.Has("owner") {
		t.Errorf("%+v, %v", tmpl, err)
	}
	for _, bad := range []string{"", "a.b", "a b"} {
		if _, err := tmpl.ID(func(string) string { return bad }); !errors.Is(err, ErrInvalidID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Whatever template is taken makes valid ids of valid words, and nothing else.
func FuzzIDTemplate(f *testing.F) {
	f.Add("{agent}-{owner}-{name}", "cc")
	f.Add("{agent", "")
	f.Add("}{agent}{", "a.b")
	f.Fuzz(func(t *testing.T, template, word string) {
		tmpl, err := ParseIDTemplate(template, "agent", "owner", "name")
		if err != nil {
			return
		}
		id, err := tmpl.ID(func(string) string { return word })
		if (err == nil) != (ValidateID(id) == nil) {
			t.Fatalf("%q of %q: %q, %v", template, word, id, err)
		}
	})
}
