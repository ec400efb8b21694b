package chain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// asked is a question whose ids are names.
func (r *record) asked(q Question) Question {
	q.Cause, q.Chain, q.Decision = r.id(q.Cause), r.id(q.Chain), r.id(q.Decision)
	return q
}

// decisions is DecisionsData in short.
func upon(inputs []in, effects ...out) contracts.DecisionsData {
	return contracts.DecisionsData{Inputs: inputs, Effects: effects}
}

func TestWhyItIsSo(t *testing.T) {
	killed := contracts.ReasonExited
	order := func(node, what string) in {
		return in{Kind: "command", Node: node, Detail: what, By: &contracts.Operator{User: "ada", Host: "ops1", Program: "smith"}}
	}
	tests := []struct {
		name   string
		ask    Question
		record func(r *record)
		want   string   // names, oldest first
		says   []string // in the evidence of the first link and the last
	}{
		{
			name: "an operator's restart whose stop is answered before the end is reported", ask: Question{Node: "a"},
			record: func(r *record) {
				r.failed("old", "a", 1, killed, "", "").
					decided("d1", decided, "", "token", upon([]in{order("a", "restart: new release")}, out{Kind: "stop", Node: "a", Incarnation: 2, Correlation: "token"})).
					decided("d2", decided, "", "token", upon([]in{{Kind: "stop_result", Node: "a", Incarnation: 2}}, out{Kind: "start", Node: "a", Incarnation: 3, Cause: "d1", Correlation: "token"})).
					stopped("x2", "a", 2, "d1", "token").
					started("s3", "a", 3, "d2", "token").
					decided("d3", decided, "", "token", upon([]in{{Kind: "timer"}}, out{Kind: "running", Node: "a", Incarnation: 3, Cause: "d1", Correlation: "token"}))
			},
			want: "d1 d2 s3 d3", says: []string{`ordered by ada@ops1 with smith: restart a, "new release"`, "a#3 is running"},
		},
		{
			name: "an operator's restart whose end is reported first", ask: Question{Node: "a"},
			record: func(r *record) {
				r.decided("d1", decided, "", "token", upon([]in{order("a", "restart: new release")}, out{Kind: "stop", Node: "a", Incarnation: 2, Correlation: "token"})).
					stopped("x2", "a", 2, "d1", "token").
					decided("d2", decided, "x2", "token", upon([]in{{Kind: "exit", Node: "a", Incarnation: 2, Event: "x2"}}, out{Kind: "start", Node: "a", Incarnation: 3, Cause: "d1", Correlation: "token"})).
					started("s3", "a", 3, "d2", "token")
			},
			want: "d1 x2 d2 s3", says: []string{"new release", "a#3 started"},
		},
		{
			name: "an agent that fails while an operator restarts it", ask: Question{Node: "a"},
			record: func(r *record) {
				r.decided("d1", decided, "", "token", upon([]in{order("a", "restart")}, out{Kind: "stop", Node: "a", Incarnation: 2, Correlation: "token"})).
					failed("f2", "a", 2, killed, "", "").
					decided("d2", decided, "f2", "f2", upon([]in{{Kind: "exit", Node: "a", Incarnation: 2, Event: "f2"}}, out{Kind: "start", Node: "a", Incarnation: 3, Cause: "d1", Correlation: "token"})).
					started("s3", "a", 3, "d2", "token")
			},
			want: "d1 f2 d2 s3", says: []string{"ordered by ada@ops1", "a#3 started"},
		},
		{
			name: "many failures in one decision, none of which is another's", ask: Question{Node: "b"},
			record: func(r *record) {
				r.failed("fz", "z", 1, killed, "", "").failed("fb", "b", 1, killed, "", "").
					decided("d1", decided, "fz", "fz", upon(
						[]in{{Kind: "exit", Node: "z", Incarnation: 1, Event: "fz"}, {Kind: "exit", Node: "b", Incarnation: 1, Event: "fb"}},
						out{Kind: "delay", Node: "z", Incarnation: 1, Correlation: "fz"}, out{Kind: "delay", Node: "b", Incarnation: 1, Input: 1, Correlation: "fb"},
					)).
					decided("d2", decided, "fz", "fz", upon([]in{{Kind: "timer"}},
						out{Kind: "start", Node: "z", Incarnation: 2, Cause: "fz", Correlation: "fz"}, out{Kind: "start", Node: "b", Incarnation: 2, Cause: "fb", Correlation: "fb"},
					)).
					started("sz", "z", 2, "d2", "fz").started("sb", "b", 2, "d2", "fb")
			},
			want: "fb d1 d2 sb", says: []string{"b#1 exited", "b#2 started"},
		},
		{
			name: "taken along by a group that has its own story in a stranger's decision", ask: Question{Node: "b"},
			record: func(r *record) {
				r.failed("fz", "z", 1, killed, "", "").failed("fa", "a", 1, killed, "", "").
					decided("d1", decided, "fz", "fz", upon(
						[]in{{Kind: "exit", Node: "z", Incarnation: 1, Event: "fz"}, {Kind: "exit", Node: "a", Incarnation: 1, Event: "fa"}},
						out{Kind: "delay", Node: "z"}, out{Kind: "group", Node: "all", Input: 1, Correlation: "fa"}, out{Kind: "stop", Node: "b", Incarnation: 1, Input: 1, Correlation: "fa"},
					)).
					stopped("xb", "b", 1, "d1", "fa").
					decided("d2", decided, "xb", "fa", upon([]in{{Kind: "stop_result", Node: "c", Incarnation: 1}}, out{Kind: "start", Node: "b", Incarnation: 2, Cause: "fa", Correlation: "fa"})).
					started("sb", "b", 2, "d2", "fa")
			},
			want: "fa d1 d2 sb", says: []string{"a#1 exited", "b#2 started"},
		},
		{
			name: "given up with its supervisor", ask: Question{Node: "crasher", Incarnation: 1, Cause: "f1"},
			record: func(r *record) {
				r.failed("f1", "crasher", 1, killed, "", "").
					decided("d1", contracts.TreeEscalated, "f1", "f1", upon([]in{{Kind: "exit", Node: "crasher", Incarnation: 1, Event: "f1"}},
						out{Kind: "terminate", Node: "term", Detail: "restart limit exceeded by child crasher", Correlation: "f1"}, out{Kind: "stop", Node: "sib", Incarnation: 1, Correlation: "f1"}))
			},
			want: "f1 d1", says: []string{"crasher#1 exited", "terminate term, restart limit exceeded by child crasher; also stop sib"},
		},
		{
			name: "a supervisor that gave up", ask: Question{Node: "term", Cause: "f1", Chain: "f1"},
			record: func(r *record) {
				r.failed("f1", "crasher", 1, killed, "", "").
					decided("d1", contracts.TreeEscalated, "f1", "f1", upon([]in{{Kind: "exit", Node: "crasher", Incarnation: 1, Event: "f1"}}, out{Kind: "terminate", Node: "term", Correlation: "f1"})).
					decided("noise", decided, "", "", upon([]in{{Kind: "timer"}}, out{Kind: "start", Node: "other"})).
					decided("d2", decided, "f1", "f1", upon([]in{{Kind: "stop_result", Node: "sib"}}, out{Kind: "down", Node: "term", Cause: "f1", Correlation: "f1"}))
			},
			want: "f1 d1 d2", says: []string{"crasher#1 exited", "down term"},
		},
		{
			name: "a supervisor, without knowing its state", ask: Question{Node: "term"},
			record: func(r *record) {
				r.failed("f1", "crasher", 1, killed, "", "").
					decided("d1", contracts.TreeEscalated, "f1", "f1", upon([]in{{Kind: "exit", Node: "crasher", Incarnation: 1, Event: "f1"}}, out{Kind: "terminate", Node: "term", Correlation: "f1"})).
					decided("noise", decided, "", "", upon([]in{{Kind: "timer"}}, out{Kind: "start", Node: "other"}))
			},
			want: "f1 d1", says: []string{"crasher#1 exited", "terminate term"},
		},
		{
			name: "drained while it waited for its restart", ask: Question{Node: "a", Incarnation: 1, Cause: "d2", Chain: "token"},
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", upon([]in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, out{Kind: "delay", Node: "a", Incarnation: 1, Correlation: "f1"})).
					failed("fz", "z", 1, killed, "", "").
					decided("d2", decided, "fz", "fz", upon([]in{{Kind: "exit", Node: "z", Incarnation: 1, Event: "fz"}, order("root", "drain: maintenance")},
						out{Kind: "delay", Node: "z", Correlation: "fz"}, out{Kind: "stop", Node: "b", Input: 1, Correlation: "token"}))
			},
			want: "d2", says: []string{`drain root, "maintenance"`, `drain root`},
		},
		{
			name: "moved while it runs", ask: Question{Node: "a", Incarnation: 2, Up: true, Cause: "move", Chain: "token", Decision: "d1"},
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", upon([]in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, out{Kind: "start", Node: "a", Incarnation: 2, Correlation: "f1"})).
					started("s2", "a", 2, "d1", "f1").
					decided("move", decided, "", "", upon([]in{{Kind: "timer"}, order("a", "move to b: more room")}, out{Kind: "stop", Node: "z"}, out{Kind: "move", Node: "a", Input: 1}))
			},
			want: "f1 d1 s2 move", says: []string{"a#1 exited", `move a to b, "more room": move a`},
		},
		{
			name: "resumed", ask: Question{Node: "g", Up: true, Cause: "resume", Chain: "token", Decision: "boot", Since: time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)},
			record: func(r *record) {
				r.decided("boot", decided, "", "", upon([]in{{Kind: "config", Detail: "configuration read"}}, out{Kind: "boot", Node: "g"})).
					decided("suspend", decided, "", "", upon([]in{order("g", "suspend: look")})).
					decided("resume", decided, "", "", upon([]in{order("g", "resume: well")}))
			},
			want: "boot resume", says: []string{"boot g", `resume g, "well"`},
		},
		{
			name: "suspended", ask: Question{Node: "g", Cause: "suspend", Chain: "token", Decision: "boot"},
			record: func(r *record) {
				r.decided("boot", decided, "", "", upon([]in{{Kind: "config", Detail: "configuration read"}}, out{Kind: "boot", Node: "g"})).
					decided("suspend", decided, "", "", upon([]in{order("g", "suspend: look")}))
			},
			want: "suspend", says: []string{`suspend g, "look"`, `suspend g, "look"`},
		},
		{
			name: "no runner has started it yet", ask: Question{Node: "lab", Incarnation: 1, Cause: "d1", Decision: "d1"},
			record: func(r *record) {
				r.decided("d1", decided, "", "", upon([]in{{Kind: "config", Detail: "configuration read"}}, out{Kind: "boot", Node: "root"}))
			},
			want: "d1", says: []string{"configuration read", "configuration read"},
		},
		{
			name: "a start that was ordered and is not reported yet", ask: Question{Node: "a", Incarnation: 2, Cause: "f1", Decision: "d2"},
			record: func(r *record) {
				r.started("s1", "a", 1, "", "").failed("f1", "a", 1, killed, "s1", "").
					decided("d1", decided, "f1", "f1", upon([]in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, out{Kind: "delay", Node: "a", Incarnation: 1, Correlation: "f1"})).
					decided("d2", decided, "f1", "f1", upon([]in{{Kind: "timer"}}, out{Kind: "start", Node: "a", Incarnation: 2, Cause: "f1", Correlation: "f1"}))
			},
			want: "f1 d1 d2", says: []string{"a#1 exited", "start a#2"},
		},
		{
			name: "the end of an older incarnation that is reported late", ask: Question{Node: "a"},
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", upon([]in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, out{Kind: "start", Node: "a", Incarnation: 2, Correlation: "f1"})).
					started("s2", "a", 2, "d1", "f1").
					stopped("late", "a", 1, "", "").
					decided("d2", decided, "late", "", upon([]in{{Kind: "heartbeat"}}, out{Kind: "running", Node: "a", Incarnation: 2}))
			},
			want: "f1 d1 s2 d2", says: []string{"a#1 exited", "running"},
		},
		{
			name: "a decision that was never completed", ask: Question{Node: "a"},
			record: func(r *record) {
				torn := upon([]in{{Kind: "timer"}}, out{Kind: "give_up", Node: "a"})
				torn.Number, torn.More = 7, true
				r.failed("f1", "a", 1, killed, "", "").
					decided("torn", decided, "", "", torn).
					decided("d1", decided, "f1", "f1", upon([]in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, out{Kind: "delay", Node: "a", Incarnation: 1}))
			},
			want: "f1 d1", says: []string{"a#1 exited", "a#1"},
		},
		{
			name: "isolated", ask: Question{Node: "a"},
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", contracts.TreeIsolated, "f1", "f1", upon([]in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, out{Kind: "isolate", Node: "a", Incarnation: 1, Detail: "restart limit exceeded"}))
			},
			want: "f1 d1", says: []string{"a#1 exited", "isolate a#1, restart limit exceeded"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(t)
			tt.record(r)
			got, known, err := Why(r, r.asked(tt.ask))
			if err != nil || !known {
				t.Fatalf("known %v, %v", known, err)
			}
			var names []string
			for _, l := range got.Chain {
				names = append(names, r.name(l.ID))
			}
			if diff := cmp.Diff(tt.want, strings.Join(names, " ")); diff != "" {
				t.Fatalf("chain (-want +got):\n%s", diff)
			}
			for i, l := range []contracts.WhyLink{got.Chain[0], got.Chain[len(got.Chain)-1]} {
				if !strings.Contains(l.Evidence, tt.says[i]) {
					t.Errorf("it says %q, want %q", l.Evidence, tt.says[i])
				}
			}
		})
	}
}

// TestWhyNamesTheOperator: who gave an order is in a field of its own, too.
func TestWhyNamesTheOperator(t *testing.T) {
	by := &contracts.Operator{User: "ada", Host: "ops1"}
	r := newRecord(t)
	due := time.Date(2026, 1, 1, 11, 0, 0, 0, time.UTC)
	r.decided("d1", decided, "", "token", upon([]in{{Kind: "command", Node: "a", Detail: "terminate", By: by}}, out{Kind: "stop", Node: "a", Incarnation: 1, Correlation: "token", Due: &due})).
		stopped("x1", "a", 1, "d1", "token")
	got, _, err := Why(r, Question{Node: "a"})
	if err != nil || len(got.Chain) != 2 || got.Chain[0].By == nil || *got.Chain[0].By != *by || got.Chain[0].Effect != "stop" || got.Chain[0].Node != "a" || got.Chain[0].Due == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestWhyIsBoundedForward: of a node about which much was decided since, the
// latest is told.
func TestWhyIsBoundedForward(t *testing.T) {
	r := newRecord(t)
	r.failed("f", "a", 1, contracts.ReasonExited, "", "")
	for i := range 3 * page {
		r.decided(fmt.Sprint("d", i), decided, "", "", upon([]in{{Kind: "timer"}}, out{Kind: "mode", Node: "a"}))
	}
	got, _, err := Why(r, Question{Node: "a"})
	if err != nil || len(got.Chain) != 1+maxSince || r.name(got.Chain[maxSince].ID) != fmt.Sprint("d", 3*page-1) || !strings.Contains(got.Note, "left out") {
		t.Errorf("%d links, note %q, %v", len(got.Chain), got.Note, err)
	}
	// With the time of its state, nothing after it is read.
	got, _, err = Why(r, Question{Node: "a", Since: r.events[3].Event.Time})
	if err != nil || len(got.Chain) != 4 {
		t.Errorf("%d links, %v", len(got.Chain), err)
	}
}

// TestAnyLog: whatever decisions and events a log has, a walk ends, keeps within
// its bounds and names no event twice.
func TestAnyLog(t *testing.T) {
	nodes := []string{"a", "b", "sup", ""}
	property.Check(t, func(rt *rapid.T) {
		r := newRecord(t)
		name := rapid.SampledFrom([]string{"", "e0", "e1", "e2", "e3", "e5", "e8", "nowhere"})
		node := rapid.SampledFrom(nodes)
		kind := rapid.SampledFrom([]string{"exit", "timer", "command", "config", "stop_result", "start", "stop", "delay", "running", "odd"})
		for i := range rapid.IntRange(1, 12).Draw(rt, "events") {
			id := fmt.Sprint("e", i)
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				r.failed(id, "a", rapid.Uint64Range(0, 3).Draw(rt, "incarnation"), rapid.SampledFrom([]contracts.FailureReason{contracts.ReasonExited, contracts.ReasonUnverified}).Draw(rt, "reason"), name.Draw(rt, "cause"), name.Draw(rt, "story"))
			case 1:
				r.started(id, "a", rapid.Uint64Range(0, 3).Draw(rt, "incarnation"), name.Draw(rt, "cause"), name.Draw(rt, "story"))
			default:
				var d contracts.DecisionsData
				for range rapid.IntRange(0, 3).Draw(rt, "inputs") {
					d.Inputs = append(d.Inputs, in{Kind: kind.Draw(rt, "kind"), Node: node.Draw(rt, "node"), Event: name.Draw(rt, "event")})
				}
				for range rapid.IntRange(0, 3).Draw(rt, "effects") {
					d.Effects = append(d.Effects, out{
						Kind: kind.Draw(rt, "kind"), Node: node.Draw(rt, "node"), Input: rapid.IntRange(-1, 4).Draw(rt, "input"),
						Cause: name.Draw(rt, "cause"), Correlation: name.Draw(rt, "story"), Incarnation: rapid.Uint64Range(0, 3).Draw(rt, "incarnation"),
					})
				}
				d.More = rapid.IntRange(0, 4).Draw(rt, "more") == 0
				r.decided(id, decided, name.Draw(rt, "cause"), name.Draw(rt, "story"), d)
			}
		}
		got, _, err := Why(r, r.asked(Question{Node: rapid.SampledFrom(nodes[:3]).Draw(rt, "asked"), Cause: name.Draw(rt, "cause"), Decision: name.Draw(rt, "decision"), Incarnation: rapid.Uint64Range(0, 3).Draw(rt, "incarnation")}))
		if err != nil {
			rt.Fatal(err)
		}
		seen := map[string]bool{}
		for _, l := range got.Chain {
			if seen[l.ID] || l.Evidence == "" || len(l.Evidence) > maxSentence || strings.ContainsAny(l.Evidence, "\n\r\t") {
				rt.Fatalf("link %+v", l)
			}
			seen[l.ID] = true
		}
	})
}
