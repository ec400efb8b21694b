package contracts

import (
	"bytes"
	"errors"
	"reflect"

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

// plain tells whether a body is of the kind that both decoders read alike, which
// TestDecodersAgree and FuzzDecode hold them to: printable ASCII without escapes,
// with few brackets, and without numbers that may be too large, mistakes in times
// and empty arrays (what follows if the same field comes again is not the same).
func plain(body []byte) bool {
	digits, brackets := 0, 0
	for i, c := range body {
		switch {
		case 'a' <= c && c <= 'z': // most of all
		case '0' <= c && c <= '9':
			if digits++; digits > plainDigits {
				return false
			}
			continue
		case c < ' ' || c > '~' || c == '\\':
			return false
		case c == '{' || c == '[':
			if brackets++; brackets > plainBrackets || emptyArray(body[i:]) {
				return false
			}
		case digits > 0 && mistakable(c) && i+1 < len(body) && '0' <= body[i+1] && body[i+1] <= '9':
			return false
		}
		digits = 0
	}
	return true
}

// mistakable tells whether the quicker decoder takes a character between the
// numbers of a time for '-', 'T' or ':'.
func mistakable(c byte) bool {
	switch c {
	case '/', 'U', 'V', 'W', ']', ';', '>', '?':
		return true
	}
	return false
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
