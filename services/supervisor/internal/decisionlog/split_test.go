package decisionlog

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestEncodedAsKnown: what is encoded quickly is encoded as encoding/json does,
// which everybody who reads the log understands; whatever fields there come to
// be.
func TestEncodedAsKnown(t *testing.T) {
	t.Parallel()
	var full Part
	var change tree.Change
	fill(t, reflect.ValueOf(&full.DecisionsData).Elem(), 0)
	fill(t, reflect.ValueOf(&change).Elem(), 0)
	state := change
	state.Spec = nil
	for name, c := range map[string]struct {
		data   contracts.DecisionsData
		change tree.Change
	}{"all": {full.DecisionsData, change}, "no specification": {full.DecisionsData, state}, "nothing": {}} {
		changes, err := appendChange([]byte(`"a":`), &c.change)
		if err != nil {
			t.Fatal(err)
		}
		p := Part{DecisionsData: c.data, changes: changes}
		p.Changes = nil
		got, err := p.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		known, err := json.Marshal(c.change)
		if err != nil {
			t.Fatal(err)
		}
		c.data.Changes = map[string]json.RawMessage{"a": known}
		want, err := json.Marshal(c.data)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// fill gives everything in a value something that is not its zero, and that is
// hard to encode.
func fill(t *testing.T, v reflect.Value, depth int) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("<&>\u2028\"\\\xff\x01é" + strconv.Itoa(depth))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-1 << 40)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(200)
	case reflect.Float64:
		v.SetFloat(1e21)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), depth)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"a":[1,"<"]}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			depth++
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, depth)
			fill(t, value, depth)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), depth)
		}
	default:
		t.Fatalf("a %s is new here: say how it is filled", v.Type())
	}
}

// TestSplitAndAssembled: a decision of any size comes out of its messages as it went
// in, and each message fits.
func TestSplitAndAssembled(t *testing.T) {
	t.Parallel()
	at := tree.Instant(1e18)
	for _, n := range []int{0, 1, 360, 3000} {
		d := &Decision{Tree: "main", Supervisor: "s", ID: contracts.DerivedID("d"), Type: contracts.TreeDecided, Number: 7, Cursor: 9, At: at, Chain: "c"}
		for i := range n {
			agent := "a-" + strconv.Itoa(i)
			detail := strings.Repeat("x", i%300)
			d.Inputs = append(d.Inputs, contracts.DecisionInput{Kind: "exit", Node: agent, At: at.Time(), Detail: detail, Data: json.RawMessage("{}")})
			d.Effects = append(d.Effects, contracts.DecisionEffect{Kind: "delay", Node: agent, Input: i, Detail: detail})
			d.Changes = append(d.Changes, tree.Change{ID: agent, State: &tree.State{Phase: tree.Waiting, Why: detail, Incarnation: uint64(i)}})
		}
		parts, err := Split(d)
		if err != nil {
			t.Fatal(err)
		}
		var all Assembly
		var got *Decision
		for i := range parts {
			ev, body, err := contracts.NewEvent("supervisor/s", d.Type, d.Tree, at.Time()).ID(leader.PartID(d.ID, i)).Correlation(d.Chain).EncodeTo(nil, parts[i].Append)
			if err != nil {
				t.Fatalf("%d agents, part %d: %v", n, i, err)
			}
			m, err := Decode(ev.Subject(), body, uint64(i+1))
			if err == nil {
				got, err = all.Add(m)
			}
			if err != nil || (got != nil) != (i == len(parts)-1) {
				t.Fatalf("%d agents, part %d of %d: %v, %v", n, i, len(parts), got != nil, err)
			}
		}
		slices.SortFunc(got.Changes, func(a, b tree.Change) int { return cmp.Compare(a.State.Incarnation, b.State.Incarnation) })
		if diff := gocmp.Diff(d, got, cmpopts.IgnoreFields(Decision{}, "First", "Sequence", "Bytes")); diff != "" {
			t.Errorf("%d agents (-decided +read):\n%s", n, diff)
		}
	}
}
