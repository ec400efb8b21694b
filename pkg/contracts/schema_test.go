package contracts

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite docs/schema")

const (
	schemaDir  = "../../docs/schema"
	schemaBase = "https://github.com/mistersmith/mistersmith/blob/main/docs/schema/"
	regenerate = "run `go test ./pkg/contracts -update` (task schema) and commit docs/schema"
)

// TestSchemas holds docs/schema to what the Go types say.
func TestSchemas(t *testing.T) {
	want := schemaFiles(t)
	if *update {
		writeSchemas(t, want)
	}
	entries, err := os.ReadDir(schemaDir)
	if err != nil {
		t.Fatalf("%v; %s", err, regenerate)
	}
	for _, entry := range entries {
		if _, ok := want[entry.Name()]; !ok {
			t.Errorf("docs/schema/%s describes nothing that exists; %s", entry.Name(), regenerate)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got, err := os.ReadFile(filepath.Join(schemaDir, name))
		if err != nil {
			t.Errorf("%v; %s", err, regenerate)
		} else if diff := cmp.Diff(string(got), string(want[name])); diff != "" {
			t.Errorf("docs/schema/%s is out of date; %s (-file +types)\n%s", name, regenerate, diff)
		}
	}
}

func TestEveryEventTypeHasData(t *testing.T) {
	for _, typ := range EventTypes() {
		if dataOf[typ] == nil {
			t.Errorf("%s: say in dataOf which data it carries", typ)
		}
	}
	if len(dataOf) != len(EventTypes()) {
		t.Errorf("dataOf has %d types, EventTypes %d", len(dataOf), len(EventTypes()))
	}
}

func TestEveryStructHasASchema(t *testing.T) {
	described := map[string]bool{}
	r := reflector(t)
	for _, typ := range wireTypes() {
		described[typ.Name()] = true
		for name := range r.ReflectFromType(typ).Definitions {
			described[name] = true
		}
	}
	for _, name := range readSource(t).structs {
		// These are embedded in requests, which show their fields as theirs.
		if !described[name] && name != "EventFilter" && name != "OrderOptions" && name != "ConfigText" && name != "Execution" {
			t.Errorf("%s has JSON fields, but neither dataOf nor messages leads to it", name)
		}
	}
}

// TestSchemasAcceptFullMessages validates, of each type, a message that uses
// every field.
func TestSchemasAcceptFullMessages(t *testing.T) {
	enums := readSource(t).enums
	for _, typ := range wireTypes() {
		v := reflect.New(typ).Elem()
		fill(v, enums, 2)
		body, err := json.Marshal(v.Interface())
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, typ, body); err != nil {
			t.Errorf("%s: %v\n%s", typ.Name(), err, body)
		}
	}
}

// TestSchemasAndDecoders feeds what programs in other languages may send to
// schema and decoder: both must agree.
func TestSchemasAndDecoders(t *testing.T) {
	const head = `"specversion":"1.0","id":"0195a1b2-0000-7000-8000-000000000001","source":"agent/py-1"`
	decodeEvent := func(b []byte) error { _, err := DecodeEvent("", b); return err }
	decodeBeat := func(b []byte) error { _, err := DecodeHeartbeat(b); return err }
	decodeTask := func(b []byte) error { _, err := DecodeTask("smith.task.research", b); return err }
	decodeStart := func(b []byte) error {
		var c StartCommand
		if err := json.Unmarshal(b, &c); err != nil {
			return err
		}
		return c.Validate()
	}
	for _, c := range []struct {
		typ    any
		decode func([]byte) error
		body   string
		ok     bool
	}{
		{Heartbeat{}, decodeBeat, `{}`, true},
		{Heartbeat{}, decodeBeat, `{"incarnation":3,"seq":1,"interval":"1m30s","status":"busy","busy_until":"2026-03-01T12:00:00Z","extra":[]}`, true},
		{Heartbeat{}, decodeBeat, `{"interval":5}`, false},
		{Heartbeat{}, decodeBeat, `{"interval":"5 seconds"}`, false},
		{Heartbeat{}, decodeBeat, `{"status":"happy"}`, false},
		{Heartbeat{}, decodeBeat, `{"incarnation":-1}`, false},
		{Heartbeat{}, decodeBeat, `{"busy_until":"soon"}`, false},
		{Heartbeat{}, decodeBeat, `[]`, false},
		{Task{}, decodeTask, `{"payload":{"any":["thing",null]},"timeout":"30s"}`, true},
		{Task{}, decodeTask, `{"id":42}`, false},
		{Task{}, decodeTask, `{"timeout":30}`, false},
		{Event{}, decodeEvent, `{` + head + `,"type":"smith.task.completed","subject":"research","time":"2026-03-01T12:00:00.5+01:00","data":{"task":"t"}}`, true},
		{Event{}, decodeEvent, `{` + head + `,"type":"smith.custom.lunch_time","subject":"x","time":"2026-03-01T12:00:00Z"}`, true},
		{Event{}, decodeEvent, `{` + head + `,"type":"smith.task.eaten","subject":"x","time":"2026-03-01T12:00:00Z"}`, false},
		{Event{}, decodeEvent, `{` + head + `,"type":"smith.custom.a.b","subject":"x","time":"2026-03-01T12:00:00Z"}`, false},
		{Event{}, decodeEvent, `{` + head + `,"type":"smith.custom.a","subject":"x","time":"yesterday"}`, false},
		{Event{}, decodeEvent, `{` + head + `,"type":"smith.custom.a","time":"2026-03-01T12:00:00Z"}`, false},
		{Event{}, decodeEvent, `{"specversion":"0.3","id":"` + anID + `","source":"s","type":"smith.custom.a","subject":"x","time":"2026-03-01T12:00:00Z"}`, false},
		{StartCommand{}, decodeStart, `{"agent":"a","incarnation":1,"command":["true"]}`, true},
		{StartCommand{}, decodeStart, `{"agent":"a","incarnation":1,"command":"true"}`, false},
		{StartCommand{}, decodeStart, `{"agent":"a","incarnation":1}`, false},
	} {
		name := reflect.TypeOf(c.typ).Name()
		if err := validate(t, reflect.TypeOf(c.typ), []byte(c.body)); (err == nil) != c.ok {
			t.Errorf("schema of %s, valid %v wanted: %v\n%s", name, c.ok, err, c.body)
		}
		if err := c.decode([]byte(c.body)); (err == nil) != c.ok {
			t.Errorf("decoder of %s, valid %v wanted: %v\n%s", name, c.ok, err, c.body)
		}
	}
}

// wireTypes are the types that have a schema file, ordered by name.
func wireTypes() []reflect.Type {
	found := map[string]reflect.Type{}
	add := func(v any) {
		if v != nil {
			found[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
		}
	}
	for _, v := range dataOf {
		add(v)
	}
	for _, m := range messages {
		add(m.body)
		add(m.reply)
	}
	var types []reflect.Type
	for _, name := range slices.Sorted(maps.Keys(found)) {
		types = append(types, found[name])
	}
	return types
}

// reflector makes schemas as messages are read: durations are strings, unknown
// fields are allowed, constants are the values of their types, and doc comments
// are descriptions.
func reflector(t *testing.T) *jsonschema.Reflector {
	t.Helper()
	enums := readSource(t).enums
	r := &jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, AllowAdditionalProperties: true}
	if err := r.AddGoComments("github.com/mistersmith/mistersmith/pkg/contracts", "./"); err != nil {
		t.Fatal(err)
	}
	r.Mapper = func(typ reflect.Type) *jsonschema.Schema {
		switch {
		case typ == reflect.TypeFor[Duration]():
			return &jsonschema.Schema{Type: "string", Pattern: `^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`, Examples: []any{"5s", "1m30s"}}
		case typ == reflect.TypeFor[EventType]():
			return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
				{Type: "string", Enum: enums[typ.Name()]},
				{Type: "string", Pattern: `^smith\.custom\.[A-Za-z0-9_-]{1,64}$`},
			}}
		case typ.Kind() == reflect.String && enums[typ.Name()] != nil:
			return &jsonschema.Schema{Type: "string", Enum: enums[typ.Name()]}
		case typ.Kind() == reflect.Uint64:
			return &jsonschema.Schema{Type: "integer", Minimum: "0"}
		}
		return nil
	}
	return r
}

// schemaFiles gives name and contents of everything in docs/schema.
func schemaFiles(t *testing.T) map[string][]byte {
	t.Helper()
	r := reflector(t)
	files := map[string][]byte{"README.md": schemaIndex()}
	for _, typ := range wireTypes() {
		s := r.ReflectFromType(typ)
		s.ID, s.Title = jsonschema.ID(schemaBase+schemaFile(typ)), typ.Name()
		body, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		// A type that contains itself is the root, not one of its definitions.
		body = bytes.ReplaceAll(body, []byte(`"#/$defs/`+typ.Name()+`"`), []byte(`"#"`))
		files[schemaFile(typ)] = append(body, '\n')
	}
	return files
}

// schemaFile turns AgentFailedData into agent-failed-data.json.
func schemaFile(typ reflect.Type) string {
	var b strings.Builder
	name := typ.Name()
	for i, c := range name {
		upper := c >= 'A' && c <= 'Z'
		if upper && i > 0 && name[i-1] >= 'a' {
			b.WriteByte('-')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String()) + ".json"
}

func schemaIndex() []byte {
	var b bytes.Buffer
	link := func(v any) string {
		if v == nil {
			return "(empty)"
		}
		file := schemaFile(reflect.TypeOf(v))
		return fmt.Sprintf("[%s](%s)", strings.TrimSuffix(file, ".json"), file)
	}
	b.WriteString("# JSON Schemas\n\nGenerated from `pkg/contracts` by `go test ./pkg/contracts -update`; do not edit. " +
		"How the messages are used is told in `docs/protocol.md`.\n\n| subject | body | reply |\n| --- | --- | --- |\n")
	for _, m := range messages {
		reply := "–"
		if m.reply != nil {
			reply = link(m.reply)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.subject, link(m.body), reply)
	}
	b.WriteString("\nThe reply of `smith.eventstore.replay` is a sequence of events; `smith.agent.<agent>.ping` and `.stop` may be left unanswered.\n" +
		"\n| event type | data |\n| --- | --- |\n")
	for _, typ := range EventTypes() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", typ, link(dataOf[typ]))
	}
	b.WriteString("| `smith.custom.<name>` | any JSON |\n")
	return b.Bytes()
}

func writeSchemas(t *testing.T, files map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(schemaDir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(schemaDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(schemaDir, name), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// validate checks a message against the schema file of its type.
func validate(t *testing.T, typ reflect.Type, body []byte) error {
	t.Helper()
	c := validator.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(filepath.Join(schemaDir, schemaFile(typ)))
	if err != nil {
		t.Fatalf("%v; %s", err, regenerate)
	}
	v, err := validator.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v)
}

// fill sets every field to something that is not zero; depth ends recursion.
func fill(v reflect.Value, enums map[string][]any, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(noon))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`{"any":["thing"]}`))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), enums, depth)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), enums, depth)
		}
		if e, ok := v.Addr().Interface().(*Event); ok {
			e.SpecVersion, e.ID = SpecVersion, anID
		}
	case reflect.Slice:
		n := min(depth, 1)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), enums, depth-1)
		}
	case reflect.Map:
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, enums, depth)
		fill(val, enums, depth)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, val)
	case reflect.String:
		if values := enums[v.Type().Name()]; len(values) > 0 {
			v.SetString(values[0].(string))
		} else {
			v.SetString("text")
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Int64:
		v.SetInt(int64(5 * time.Second))
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(8.5)
	default:
		panic("fill: no value for " + v.Type().String())
	}
}
