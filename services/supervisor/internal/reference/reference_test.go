package reference

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// FuzzOf: what refers to an environment says so, and else says what it did.
func FuzzOf(f *testing.F) {
	for _, s := range []string{`{"agent":"","incarnation":0,"command":["x"]}`, `{"type":"a"}`, `{}`, `[]`, ``, `{"environment":"y"}`, `{"environment":7,"dir":"d"}`} {
		f.Add(s, "0b6f")
	}
	f.Fuzz(func(t *testing.T, start, ref string) {
		_ = Of(json.RawMessage(start)) // does not fail on anything
		var cmd, again contracts.StartCommand
		if json.Unmarshal([]byte(start), &cmd) != nil || contracts.ValidateID(ref) != nil {
			return
		}
		raw, err := json.Marshal(cmd)
		if err != nil {
			return
		}
		refers, err := Put(raw, ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := Of(refers); got != ref {
			t.Errorf("%s refers to %q, want %q", refers, got, ref)
		}
		if err := json.Unmarshal(refers, &again); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(raw, &cmd)
		if diff := cmp.Diff(cmd, again); diff != "" {
			t.Error(diff)
		}
		if Of(raw) != "" {
			t.Errorf("%s refers to something", raw)
		}
	})
}

func TestJoin(t *testing.T) {
	env, vars := map[string]string{"A": "1", "B": ""}, map[string]string{"A": "2"}
	gotEnv, gotVars := Split(Join(env, vars))
	if diff := cmp.Diff([]map[string]string{env, vars}, []map[string]string{gotEnv, gotVars}); diff != "" {
		t.Error(diff)
	}
}

func TestReferToNothing(t *testing.T) {
	for _, start := range []string{"", "{}", "[]", "null"} {
		if got, err := Put(json.RawMessage(start), "x"); err == nil {
			t.Errorf("%q became %s", start, got)
		}
	}
}
