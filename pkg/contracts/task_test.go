package contracts

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeTask(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want Task
	}{
		"empty":          {"", Task{Type: "research"}},
		"no fields":      {"{}", Task{Type: "research"}},
		"unknown fields": {`{"priority":1,"payload":2}`, Task{Type: "research", Payload: json.RawMessage("2")}},
		"its type":       {`{"type":"research"}`, Task{Type: "research"}},
		"all": {
			`{"id":"t-1","type":"research","payload":{"q":["a",1,null]},"timeout":"30s","max_attempts":3,"causationid":"` + aCause + `"}`,
			Task{ID: "t-1", Type: "research", Payload: json.RawMessage(`{"q":["a",1,null]}`), Timeout: Duration(30 * time.Second), MaxAttempts: 3, CausationID: aCause},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeTask("smith.task.research", []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecodeTaskRefuses(t *testing.T) {
	const subject = "smith.task.research"
	for name, c := range map[string]struct{ subject, body, want string }{
		"text":              {subject, "do it", "JSON object"},
		"null":              {subject, "null", "JSON object"},
		"string":            {subject, `"do it"`, "JSON object"},
		"cut off":           {subject, `{"id":`, "JSON object"},
		"not a payload":     {subject, `{"url":"https://example.org"}`, `"url"; put`},
		"another type":      {subject, `{"type":"code"}`, "does not match"},
		"id with dot":       {subject, `{"id":"a.b"}`, "id:"},
		"id of 10 KB":       {subject, `{"id":"` + strings.Repeat("x", 10<<10) + `"}`, "id:"},
		"negative timeout":  {subject, `{"timeout":"-1s"}`, "timeout"},
		"number as timeout": {subject, `{"timeout":30}`, "duration"},
		"many attempts":     {subject, `{"max_attempts":101}`, "max_attempts"},
		"negative attempts": {subject, `{"max_attempts":-1}`, "max_attempts"},
		"long cause":        {subject, `{"causationid":"` + strings.Repeat("x", 200) + `"}`, "causationid"},
		"over the limit":    {subject, "{}" + strings.Repeat(" ", MaxTaskBytes-1), "at most"},
		"no task subject":   {"smith.tasks.research", "{}", "smith.task."},
		"wildcard":          {"smith.task.*", "{}", "smith.task.*"},
		"deeper":            {"smith.task.research.now", "{}", "research.now"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeTask(c.subject, []byte(c.body))
			if !errors.Is(err, ErrTask) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want ErrTask naming %q", err, c.want)
			}
			if diff := cmp.Diff(Task{}, got); diff != "" {
				t.Errorf("a task came with the error:\n%s", diff)
			}
			if len(err.Error()) > 1024 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestTaskWithID(t *testing.T) {
	a, b := Task{Type: "x"}.WithID(), Task{Type: "x"}.WithID()
	if a.ID == "" || a.ID == b.ID || a.Validate() != nil {
		t.Errorf("ids %q and %q", a.ID, b.ID)
	}
	if got := a.WithID(); got.ID != a.ID {
		t.Errorf("%q became %q", a.ID, got.ID)
	}
}

func FuzzDecodeTask(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"id":"t-1"}`, `{"id":"a.b"}`, `{"payload":{"a":[1,2]},"timeout":"1s"}`, `{"payload":null}`, `{"type":"code"}`,
		`{"max_attempts":99999999999999999999}`, `{"payload":"\ud800"}`, `[{}]`,
	} {
		f.Add("smith.task.research", []byte(s))
	}
	for _, id := range badIDs {
		f.Add(TaskSubject(id), []byte("{}"))
	}
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		task, err := DecodeTask(subject, body)
		if err != nil {
			if !errors.Is(err, ErrTask) {
				t.Fatalf("%v is not ErrTask", err)
			}
			return
		}
		if task.Validate() != nil || TaskSubject(task.Type) != subject {
			t.Fatalf("on %q accepted %+v", subject, task)
		}
		out, err := json.Marshal(task)
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		if again, err := DecodeTask(subject, out); len(out) <= MaxTaskBytes && (err != nil || again.ID != task.ID) {
			t.Fatalf("encoded as %s: %v", out, err)
		}
	})
}
