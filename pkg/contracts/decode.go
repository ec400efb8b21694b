package contracts

import (
	"bytes"
	"encoding/json"
	"errors"
)

// decodeObject reads a JSON object into v. Unknown fields are ignored; null and
// other values are refused, though encoding/json would let null pass as {}.
func decodeObject(body []byte, v any) error {
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 && body[0] != '{' && json.Valid(body) {
		return errors.New("a JSON value, but not an object")
	}
	return json.Unmarshal(body, v)
}
