package contracts

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/go-json-experiment/json/v1"
)

// Encode returns a reply as JSON: as encoding/json does, except that an empty list is
// [] and an empty map {}, never null, which the schemas do not allow. The error is
// that of a value that JSON does not have.
func Encode(v any) ([]byte, error) { return json.Marshal(v, listsAreLists) }

// EncodeIndented is [Encode] in lines that are indented by two spaces.
func EncodeIndented(v any) ([]byte, error) {
	return json.Marshal(v, listsAreLists, jsontext.WithIndent("  "))
}

// listsAreLists makes the coming implementation of encoding/json behave as that,
// except for empty lists and maps.
var listsAreLists = json.JoinOptions(v1.DefaultOptionsV1(), json.FormatNilSliceAsNull(false), json.FormatNilMapAsNull(false))
