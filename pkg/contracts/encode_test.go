package contracts

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEmptyListsAreLists: of each type on the wire, a message whose lists and maps are
// nil, at one depth after another, is as its schema says, which knows no null.
func TestEmptyListsAreLists(t *testing.T) {
	enums := readSource(t).enums
	nulls := 0
	for _, typ := range wireTypes() {
		for depth := range 3 {
			v := reflect.New(typ).Elem()
			fill(v, enums, 2)
			hollow(v, depth)
			body, err := Encode(v.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, typ, body); err != nil {
				t.Errorf("%s: %v\n%s", typ.Name(), err, body)
			}
			if body, err = json.Marshal(v.Interface()); err != nil || validate(t, typ, body) != nil {
				nulls++
			}
		}
	}
	if nulls < 10 {
		t.Errorf("only %d of them have null by encoding/json", nulls)
	}
}

// hollow makes the lists and maps within v nil, but for those above a depth.
func hollow(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			hollow(v.Elem(), depth)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				hollow(v.Field(i), depth)
			}
		}
	case reflect.Slice:
		switch {
		case v.Type().Elem().Kind() == reflect.Uint8: // text, not a list
		case depth == 0:
			v.SetZero()
		default:
			for i := range v.Len() {
				hollow(v.Index(i), depth-1)
			}
		}
	case reflect.Map:
		if depth == 0 {
			v.SetZero()
		}
	}
}

// TestEncodeAsEncodingJSON: where nothing is empty the two agree, byte for byte.
func TestEncodeAsEncodingJSON(t *testing.T) {
	enums := readSource(t).enums
	for _, typ := range wireTypes() {
		v := reflect.New(typ).Elem()
		fill(v, enums, 3)
		want, err := json.Marshal(v.Interface())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Encode(v.Interface()); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\n%s", typ.Name(), err, cmp.Diff(string(want), string(got)))
		}
		want, _ = json.MarshalIndent(v.Interface(), "", "  ")
		if got, err := EncodeIndented(v.Interface()); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\n%s", typ.Name(), err, cmp.Diff(string(want), string(got)))
		}
	}
	text := map[string]any{"a": "<&>\u2028", "b": json.RawMessage(` { "c" : "<" } `), "d": nil}
	want, _ := json.Marshal(text)
	if got, err := Encode(text); err != nil || string(got) != string(want) {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if got, err := EncodeIndented([]int(nil)); err != nil || strings.TrimSpace(string(got)) != "[]" {
		t.Errorf("%q, %v", got, err)
	}
}
