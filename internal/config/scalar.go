package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// scalar gives a key's text when one is written. Lists, mappings and nothing
// are reported as not being the wanted thing.
func (o *object) scalar(key, want string) (value, bool) {
	v, ok := o.get(key)
	return v, ok && v.isScalar(want)
}

// isScalar tells whether something is written that is neither list nor
// mapping, and reports it when not.
func (v value) isScalar(want string) bool {
	switch {
	case v.isNull() && v.env == "":
		v.fail("%s is needed, but nothing is written; remove the key to get its default", want)
		return false
	case v.node.Kind != yaml.ScalarNode:
		v.fail("%s is needed, not %s", want, v.kind())
		return false
	}
	return true
}

// quoted tells that the file marks a value as text.
func (v value) quoted() bool { return v.env == "" && v.node.ShortTag() == "!!str" }

// duration reads a Go duration within [low, high].
func (o *object) duration(key string, dst *time.Duration, low, high time.Duration) {
	if v, ok := o.scalar(key, aDuration); ok {
		v.duration(dst, low, high)
	}
}

const aDuration = `a duration such as "5s"`

var (
	bareNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)
	days       = regexp.MustCompile(`^([0-9]{1,4})d(ays?)?$`)
)

func (v value) duration(dst *time.Duration, low, high time.Duration) {
	text := v.node.Value
	d, err := time.ParseDuration(text)
	switch {
	case err != nil && bareNumber.MatchString(text):
		v.fail("%s has no unit; write %q for seconds, or use ms, s, m, h", clip(text), clip(text)+"s")
	case err != nil && days.MatchString(text):
		n, _ := strconv.Atoi(days.FindStringSubmatch(text)[1])
		v.fail("%q is not a duration: hours are the largest unit; write \"%dh\"", text, 24*n)
	case err != nil:
		v.fail("%s is not a duration; write it like \"5s\", \"100ms\" or \"1m30s\"", v.kind())
	case d < low:
		v.fail("%v is too short; at least %v is needed", d, low)
	case d > high:
		v.fail("%v is too long; at most %v is allowed", d, high)
	default:
		*dst = d
	}
}

// integer reads a whole number within [low, high].
func (o *object) integer(key string, dst *int, low, high int) {
	v, ok := o.scalar(key, "a whole number")
	if !ok {
		return
	}
	n, err := strconv.ParseInt(v.node.Value, 0, 64)
	switch {
	case err == nil && v.quoted():
		v.fail("a whole number is needed, not text; remove the quotes: %d", n)
	case err != nil:
		v.fail("a whole number is needed, not %s", v.kind())
	case n < int64(low):
		v.fail("%d is too small; at least %d is needed", n, low)
	case n > int64(high):
		v.fail("%d is too large; at most %d is allowed", n, high)
	default:
		*dst = int(n)
	}
}

// number reads a finite number within [low, high].
func (o *object) number(key string, dst *float64, low, high float64) {
	v, ok := o.scalar(key, "a number")
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(strings.TrimPrefix(v.node.Value, "+"), 64)
	switch {
	case err == nil && v.quoted() && !math.IsNaN(n) && !math.IsInf(n, 0):
		v.fail("a number is needed, not text; remove the quotes: %v", n)
	case err != nil || math.IsNaN(n) || math.IsInf(n, 0):
		v.fail("a number is needed, not %s", v.kind())
	case n < low:
		v.fail("%v is too small; at least %v is needed", n, low)
	case n > high:
		v.fail("%v is too large; at most %v is allowed", n, high)
	default:
		*dst = n
	}
}

// boolean reads true or false.
func (o *object) boolean(key string, dst *bool) {
	v, ok := o.scalar(key, "true or false")
	if !ok {
		return
	}
	switch strings.ToLower(v.node.Value) {
	case "true", "yes", "on":
		*dst = true
	case "false", "no", "off":
		*dst = false
	default:
		v.fail("true or false is needed, not %s", v.kind())
	}
}

// bytes reads a size such as 1048576 or 10GiB.
func (o *object) bytes(key string, dst *int64, low int64) {
	if v, ok := o.scalar(key, `a size such as "10GiB"`); ok {
		v.bytes(dst, low)
	}
}

func (v value) bytes(dst *int64, low int64) {
	n, err := contracts.ParseBytes(v.node.Value)
	switch {
	case err != nil:
		v.fail("%s is not a size; write a number of bytes, or one with a unit such as \"512MiB\" or \"10GiB\"", v.kind())
	case n != 0 && n < low:
		v.fail("%d bytes are too few; at least %d are needed", n, low)
	default:
		*dst = n
	}
}

// id reads an id.
func (o *object) id(key string, dst *string) bool {
	v, ok := o.scalar(key, "a name")
	return ok && v.id(dst)
}

func (v value) id(dst *string) bool {
	if v.node.Kind != yaml.ScalarNode || v.isNull() {
		v.fail("a name is needed, not %s", v.kind())
		return false
	}
	if msg := checkID(v.node.Value); msg != "" {
		v.fail("%s", msg)
		return false
	}
	*dst = v.node.Value
	return true
}

// checkID says what is wrong with an id, or nothing.
func checkID(s string) string {
	if contracts.ValidateID(s) == nil {
		return ""
	}
	switch {
	case s == "":
		return "the name is empty; use letters, digits, _ and -"
	case len(s) > contracts.MaxIDLength:
		return fmt.Sprintf("the name %q has %d bytes; at most %d are allowed", clip(s), len(s), contracts.MaxIDLength)
	}
	return fmt.Sprintf("%q cannot be a name: only letters, digits, _ and - are allowed; write %q", clip(s), asID(s))
}

// asID turns text into an id that resembles it.
func asID(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && contracts.ValidateID(string(r)) == nil {
			return r
		}
		return '-'
	}, s)
}

// ids reads a set of ids, which are sorted: files that list them in another order
// say the same.
func (o *object) ids(key, what string, dst *[]string, most int) {
	v, ok := o.get(key)
	if !ok {
		return
	}
	seen := map[string]bool{}
	out := []string{}
	elements := v.list(what)
	if len(elements) > most {
		v.fail("%d %s are too many; at most %d are allowed", len(elements), what, most)
		return
	}
	for _, e := range elements {
		var s string
		switch {
		case !e.id(&s):
		case seen[s]:
			e.fail("%q is listed twice; remove one", s)
		default:
			seen[s] = true
			out = append(out, s)
		}
	}
	slices.Sort(out)
	*dst = out
}

// text reads any string; other scalars are taken as they are written.
func (o *object) text(key string, dst *string) {
	if v, ok := o.scalar(key, "text"); ok && v.clean("text") {
		*dst = v.node.Value
	}
}

// clean reports what cannot be passed to a process.
func (v value) clean(what string) bool {
	switch {
	case v.node.Kind != yaml.ScalarNode || v.isNull():
		v.fail("%s is needed, not %s; quote it if it is meant as text", what, v.kind())
		return false
	case strings.ContainsRune(v.node.Value, 0):
		v.fail("a NUL character cannot be passed to a process")
		return false
	}
	return true
}

// enum reads one of a fixed set of words, in any of their spellings.
func enum[T ~string](o *object, key string, all []T, dst *T) bool {
	v, ok := o.scalar(key, "one of "+strings.Join(words(all), ", "))
	if !ok {
		return false
	}
	got, ok := parseEnum(all, v.node.Value)
	if !ok {
		advice := ""
		if near := nearest(v.node.Value, words(all)); near != "" {
			advice = fmt.Sprintf("; did you mean %q?", near)
		}
		v.fail("%s is not one of %s%s", v.kind(), strings.Join(words(all), ", "), advice)
		return false
	}
	*dst = got
	return true
}

func invalidByte(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
