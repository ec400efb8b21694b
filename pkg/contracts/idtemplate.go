package contracts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrIDTemplate tells that a text cannot be a template of ids.
var ErrIDTemplate = errors.New("invalid template of ids")

// IDTemplate makes ids out of words, as in "{agent}-{owner}-{name}". The zero
// value makes none.
type IDTemplate struct{ parts []templatePart }

// templatePart is text as it stands, or the name of a word.
type templatePart struct {
	text string
	word bool
}

// ParseIDTemplate reads a template in which only the given words may stand in
// braces. It must name at least one of them, or all would have one id.
func ParseIDTemplate(s string, words ...string) (IDTemplate, error) {
	var t IDTemplate
	named := false
	for rest := s; rest != ""; {
		text, after, open := strings.Cut(rest, "{")
		if i := strings.IndexFunc(text, func(r rune) bool { return r > '~' || !isIDByte(byte(r)) }); i >= 0 {
			return IDTemplate{}, fmt.Errorf("%w: %q has %q; use A-Z a-z 0-9 _ - and {%s}", ErrIDTemplate, clip(s), text[i:i+1], strings.Join(words, "}, {"))
		}
		if text != "" {
			t.parts = append(t.parts, templatePart{text: text})
		}
		if !open {
			break
		}
		word, behind, closed := strings.Cut(after, "}")
		if !closed || !slices.Contains(words, word) {
			return IDTemplate{}, fmt.Errorf("%w: %q has {%s; it may have {%s}", ErrIDTemplate, clip(s), clip(word), strings.Join(words, "}, {"))
		}
		t.parts, named, rest = append(t.parts, templatePart{word, true}), true, behind
	}
	if !named {
		return IDTemplate{}, fmt.Errorf("%w: %q has none of {%s}, so all would have one id", ErrIDTemplate, clip(s), strings.Join(words, "}, {"))
	}
	return t, nil
}

// ID puts words into the template. What comes out is a valid id.
func (t IDTemplate) ID(word func(name string) string) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.word {
			b.WriteString(word(p.text))
		} else {
			b.WriteString(p.text)
		}
	}
	id := b.String()
	return id, ValidateID(id)
}

// Has tells whether the template uses a word.
func (t IDTemplate) Has(word string) bool {
	return slices.Contains(t.parts, templatePart{word, true})
}
