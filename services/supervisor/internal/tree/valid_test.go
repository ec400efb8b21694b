package tree

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestValidInputs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   Input
		want string // empty for valid
	}{
		{Input{Kind: Tick}, ""},
		{Input{Kind: Tick, At: 1, Reason: "x", Event: "e", Chain: "c"}, ""},
		{Input{Kind: Tick, Node: "a"}, "tick with node"},
		{Input{}, `there is no ""`},
		{Input{Kind: "omen"}, `there is no "omen"`},
		{Input{Kind: Started, Node: "a", Incarnation: 1, PID: 7}, ""},
		{Input{Kind: Started, Node: "a"}, "started without incarnation"},
		{Input{Kind: Exited, Node: "a", Normal: true}, ""},
		{Input{Kind: Failed, Node: "a", Normal: true}, "failed with normal"},
		{Input{Kind: Declined, Node: "a", Incarnation: 1}, "declined without runner"},
		{Input{Kind: Order, Command: CmdRestart, Node: "a", Token: "t"}, ""},
		{Input{Kind: Order, Command: CmdRestart, Node: "a", To: "b", Count: 2}, "order restart with count, to"},
		{Input{Kind: Order, Command: CmdAdd, Spec: &Spec{}}, ""},
		{Input{Kind: Order, Command: CmdAdd, Node: "a"}, "order add without spec"},
		{Input{Kind: Order, Node: "a"}, `there is no "order "`},
		{Input{Kind: Configure, Specs: []*Spec{}, Boot: true}, ""},
		{Input{Kind: Runners}, ""},
	} {
		err := c.in.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v; want %q", c.in, err, c.want)
		}
	}
}

// Every field of an input either belongs to some kinds, or all may have it.
func TestFieldsOfInputs(t *testing.T) {
	t.Parallel()
	common := map[string]bool{"Kind": true, "At": true, "Reason": true, "Event": true, "Chain": true}
	typ := reflect.TypeFor[Input]()
	var all fields
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		if common[name] {
			continue
		}
		var in Input
		v := reflect.ValueOf(&in).Elem().Field(i)
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int:
			v.SetInt(1)
		case reflect.Uint64:
			v.SetUint(1)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s: a kind that is not foreseen", name)
		}
		has := in.has()
		if !strings.EqualFold(has.String(), name) {
			t.Errorf("%s counts as %q", name, has)
		}
		all |= has
	}
	var used fields
	for _, f := range inputForms {
		used |= f.must | f.may
	}
	for _, f := range commandForms {
		used |= f.must | f.may
	}
	if all != used {
		t.Errorf("in no kind: %s", all&^used)
	}
}
