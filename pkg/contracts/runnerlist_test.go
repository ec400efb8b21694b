package contracts

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecodeRunnerListSetsAside(t *testing.T) {
	t.Parallel()
	const body = `{"runner":"r1","term":7,"more":true,"agents":[
		{"agent":"ok","incarnation":3,"pid":12,"state":"running","tree":"main"},
		{"agent":"a.b","incarnation":1,"state":"running"},
		{"agent":"zero","incarnation":0,"state":"running"},
		{"agent":"huge","incarnation":9007199254740992,"state":"running"},
		{"agent":"odd","incarnation":1,"state":"dancing"},
		{"agent":"ended","incarnation":1,"state":"exited"},
		{"agent":"ok","incarnation":4,"state":"running"},
		{"agent":"pid","incarnation":4,"state":"running","pid":-1},
		{"agent":["x"]}, 17,
		{"agent":"gone","incarnation":2,"state":"exited","exit":{"code":-1,"unknown":true,"blame":"host","at":"2026-01-01T00:00:00Z"}}]}`
	list, rejected, err := DecodeRunnerList("r1", []byte(body))
	if err != nil || len(list.Agents) != 2 || list.Term != 7 || !list.More {
		t.Fatalf("%+v, %v", list, err)
	}
	if a, b := list.Agents[0], list.Agents[1]; a.Agent != "ok" || a.Incarnation != 3 || b.Exit.Blame != BlameHost {
		t.Errorf("kept %+v and %+v", a, b)
	}
	if len(rejected) != 9 {
		t.Errorf("%d set aside: %v", len(rejected), rejected)
	}
	for _, err := range rejected {
		if !errors.Is(err, ErrRunnerList) {
			t.Errorf("%v is not ErrRunnerList", err)
		}
	}
	for _, bad := range []string{"", "[]", `{"runner":"r2"}`, `{"runner":"r1","agents":7}`} {
		if _, _, err := DecodeRunnerList("r1", []byte(bad)); !errors.Is(err, ErrRunnerList) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestFillNeverEndsAListEarly: every agent is in exactly one page, and an agent
// that cannot be written leaves the list without an end.
func TestFillNeverEndsAListEarly(t *testing.T) {
	t.Parallel()
	var all []RunnerAgent
	for i := range 10_000 {
		all = append(all, RunnerAgent{Agent: fmt.Sprintf("agent-%05d", i), Incarnation: 1, State: AgentExited, Exit: &Exit{Tail: strings.Repeat("x", 100)}})
	}
	read := func() (names []string, pages int) {
		for l := (RunnerList{Runner: "r1", More: true}); l.More; pages++ {
			after := ""
			if len(names) > 0 {
				after = names[len(names)-1]
			}
			if err := l.Fill(all, after); err != nil {
				t.Fatal(err)
			}
			if raw, err := json.Marshal(l); err != nil || len(raw) > MaxListBytes+1000 {
				t.Fatalf("a page of %d bytes, %v", len(raw), err)
			}
			for _, a := range l.Agents {
				names = append(names, a.Agent)
			}
		}
		return names, pages
	}
	names, pages := read()
	if len(names) != len(all) || !slices.IsSorted(names) || pages != 2 {
		t.Errorf("%d agents in %d pages, want %d in 2", len(names), pages, len(all))
	}
	if all[0].Exit.Tail == "" {
		t.Error("the runner's own record has lost its output")
	}
	all[5].Exit = &Exit{At: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}
	l := RunnerList{Runner: "r1"}
	if err := l.Fill(all, ""); err == nil || len(l.Agents) != 5 || !l.More {
		t.Errorf("%d agents, more: %t, error %v", len(l.Agents), l.More, err)
	}
}

func FuzzRunnerList(f *testing.F) {
	f.Add([]byte(`{"runner":"r1","agents":[{"agent":"a","incarnation":1,"state":"running"}]}`))
	f.Add([]byte(`{"runner":"r1","agents":[{"agent":"a","incarnation":1,"state":"exited","exit":{"code":1,"blame":"order"}},{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, rejected, err := DecodeRunnerList("r1", body)
		if err != nil {
			if len(list.Agents) > 0 {
				t.Fatal("a list with an error has agents")
			}
			return
		}
		for _, a := range list.Agents {
			if err := a.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		again, none, err := DecodeRunnerList("r1", raw)
		if err != nil || len(none) > 0 || len(again.Agents) != len(list.Agents) {
			t.Fatalf("%d agents, %d set aside; again %d, %d, %v", len(list.Agents), len(rejected), len(again.Agents), len(none), err)
		}
		for _, err := range rejected {
			if strings.ContainsAny(err.Error(), "\x00\x1b") {
				t.Fatalf("%q has control characters", err.Error())
			}
		}
	})
}
