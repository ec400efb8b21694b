package contracts

import (
	"bytes"
	"errors"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	v1 "github.com/go-json-experiment/json/v1"
	quick "github.com/segmentio/encoding/json"
)

// decode reads JSON into v, which is a pointer to a zero value, as json.Unmarshal
// does. What is plain is read by a quicker decoder; its word counts only when it
// finds nothing wrong.
func decode(body []byte, v any) error {
	if plain(body) {
		if quick.Unmarshal(body, v) == nil {
			return nil
		}
		reflect.ValueOf(v).Elem().SetZero()
	}
	return json.Unmarshal(body, v, asEncodingJSON)
}

// asEncodingJSON makes the coming implementation of encoding/json behave as that,
// except that it tells where a mistake is.
var asEncodingJSON = json.JoinOptions(v1.DefaultOptionsV1(), v1.ReportErrorsWithLegacySemantics(false))

// Beyond these, the quicker decoder reads some numbers as others, and takes long.
const (
	plainDigits   = 18
	plainBrackets = 64
)

// byteKind is what a byte means to [plain].
type byteKind uint8

const (
	ordinary byteKind = iota
	// opening is that of an object or array.
	opening
	// mistakable is a byte that the quicker decoder takes for '-', 'T' or ':' between
	// the numbers of a time.
	mistakable
	// strange is not printable ASCII, or begins an escape.
	strange
)

var byteKinds = func() (kinds [256]byteKind) {
	for c := range kinds {
		switch c := byte(c); {
		case c < ' ' || c > '~' || c == '\\':
			kinds[c] = strange
		case c == '{' || c == '[':
			kinds[c] = opening
		case strings.IndexByte("/UVW];>?", c) >= 0:
			kinds[c] = mistakable
		}
	}
	return kinds
}()

// plain reports whether a body is of the kind that both decoders read alike, which
// TestDecodersAgree and FuzzDecode hold them to: printable ASCII without escapes,
// with few brackets, and without numbers that may be too large, mistakes in times
// and empty arrays (what follows if the same field comes again is not the same).
func plain(body []byte) bool {
	brackets := 0
	for i, c := range body {
		kind := byteKinds[c]
		if kind == ordinary {
			continue
		}
		switch kind {
		case opening:
			if brackets++; brackets > plainBrackets || emptyArray(body[i:]) {
				return false
			}
		case mistakable:
			if digitAt(body, i-1) && digitAt(body, i+1) {
				return false
			}
		default:
			return false
		}
	}
	// A number that is too long has one digit among these.
	for i := plainDigits; i < len(body); i += plainDigits + 1 {
		if digitAt(body, i) && digitsAround(body, i) > plainDigits {
			return false
		}
	}
	return true
}

func digitAt(text []byte, i int) bool {
	return i >= 0 && i < len(text) && '0' <= text[i] && text[i] <= '9'
}

// digitsAround counts the digits in a row of which one is at i.
func digitsAround(text []byte, i int) int {
	from, to := i, i+1
	for digitAt(text, from-1) {
		from--
	}
	for digitAt(text, to) {
		to++
	}
	return to - from
}

func emptyArray(text []byte) bool {
	return text[0] == '[' && bytes.HasPrefix(bytes.TrimLeft(text[1:], " "), []byte("]"))
}

// decodeObject reads a JSON object into v. Unknown fields are ignored; null and
// other values are refused, though decode would let null pass as {}.
func decodeObject(body []byte, v any) error {
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 && body[0] != '{' && v1.Valid(body) {
		return errors.New("a JSON value, but not an object")
	}
	return decode(body, v)
}
