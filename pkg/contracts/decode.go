package contracts

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
	v1 "github.com/go-json-experiment/json/v1"
)

// decode is json.Unmarshal by the coming implementation of encoding/json, which
// takes a third of the time; less yet as it stops at a mistake instead of going
// through the whole beforehand.
func decode(body []byte, v any) error { return json.Unmarshal(body, v, asEncodingJSON) }

var asEncodingJSON = json.JoinOptions(v1.DefaultOptionsV1(), v1.ReportErrorsWithLegacySemantics(false))

// decodeObject reads a JSON object into v. Unknown fields are ignored; null and
// other values are refused, though decode would let null pass as {}.
func decodeObject(body []byte, v any) error {
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 && body[0] != '{' && v1.Valid(body) {
		return errors.New("a JSON value, but not an object")
	}
	return decode(body, v)
}
