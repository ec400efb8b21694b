package chain

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// record is a Log of events in memory. Names stand for ids.
type record struct {
	t      *testing.T
	events []contracts.StoredEvent
	names  map[string]string // name -> id
	gone   map[string]bool   // ids no longer stored
	broken error
}

func newRecord(t *testing.T) *record {
	return &record{t: t, names: map[string]string{}, gone: map[string]bool{}}
}

func (r *record) id(name string) string {
	if name == "" {
		return ""
	}
	if _, ok := r.names[name]; !ok {
		r.names[name] = contracts.DerivedID(name)
	}
	return r.names[name]
}

func (r *record) name(id string) string {
	for n, i := range r.names {
		if i == id {
			return n
		}
	}
	return id
}

// add records an event; cause and story are names.
func (r *record) add(name string, t contracts.EventType, entity, cause, story string, data any) *record {
	r.t.Helper()
	at := time.Date(2026, 1, 1, 10, 0, len(r.events), 0, time.UTC)
	e, err := contracts.NewEvent("test/t", t, entity, at).ID(r.id(name)).
		Causation(r.id(cause)).Correlation(r.id(story)).Data(data).Build()
	if err != nil {
		r.t.Fatal(err)
	}
	r.events = append(r.events, contracts.StoredEvent{Sequence: uint64(len(r.events) + 1), Event: e})
	return r
}

func (r *record) failed(name, agent string, inc uint64, reason contracts.FailureReason, cause, story string) *record {
	return r.add(name, contracts.AgentFailed, agent, cause, story, contracts.AgentFailedData{
		Agent: agent, Incarnation: inc, Reason: reason, Runner: "r1", Exit: &contracts.Exit{Code: -1, Signal: "SIGKILL"},
	})
}

func (r *record) started(name, agent string, inc uint64, cause, story string) *record {
	return r.add(name, contracts.AgentStarted, agent, cause, story, contracts.AgentStartedData{Agent: agent, Incarnation: inc, Runner: "r1", PID: 42})
}

func (r *record) stopped(name, agent string, inc uint64, cause, story string) *record {
	return r.add(name, contracts.AgentStopped, agent, cause, story, contracts.AgentStoppedData{Agent: agent, Incarnation: inc, Reason: contracts.StopRequested})
}

func (r *record) decided(name string, t contracts.EventType, cause, story string, d contracts.DecisionsData) *record {
	d.Tree = "main"
	if d.Number == 0 {
		d.Number = uint64(len(r.events) + 1)
	}
	for i := range d.Inputs {
		d.Inputs[i].Event = r.id(d.Inputs[i].Event)
	}
	for i := range d.Effects {
		d.Effects[i].Correlation, d.Effects[i].Cause = r.id(d.Effects[i].Correlation), r.id(d.Effects[i].Cause)
	}
	return r.add(name, t, "main", cause, story, d)
}

func (r *record) Event(id string) (contracts.StoredEvent, bool, error) {
	if r.broken != nil {
		return contracts.StoredEvent{}, false, r.broken
	}
	i := slices.IndexFunc(r.events, func(e contracts.StoredEvent) bool { return e.Event.ID == id && !r.gone[id] })
	if i < 0 {
		return contracts.StoredEvent{}, false, nil
	}
	return r.events[i], true, nil
}

func (r *record) Last(t contracts.EventType, entity string) (contracts.StoredEvent, bool, error) {
	for _, e := range slices.Backward(r.events) {
		if e.Event.Type == t && e.Event.Entity == entity {
			return e, true, nil
		}
	}
	return contracts.StoredEvent{}, false, nil
}

func (r *record) After(seq uint64, types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error) {
	var out []contracts.StoredEvent
	for _, e := range r.events {
		if e.Sequence > seq && slices.Contains(types, e.Event.Type) && (entity == "" || e.Event.Entity == entity) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (r *record) Newest(types []contracts.EventType, entity string, limit int) ([]contracts.StoredEvent, error) {
	all, err := r.After(0, types, entity, len(r.events))
	return all[max(0, len(all)-limit):], err
}

// part names a decision's further message.
func (r *record) part(name, first string, i int) {
	r.names[name] = contracts.DerivedID(r.id(first), strconv.Itoa(i))
}

type (
	in  = contracts.DecisionInput
	out = contracts.DecisionEffect
)

const decided = contracts.TreeDecided

func TestWhy(t *testing.T) {
	killed := contracts.ReasonExited
	tests := []struct {
		name   string
		agent  string
		record func(r *record)
		want   string // names, oldest first
		note   string
		gap    bool // the beginning is missing
	}{
		{
			name: "one for one at once", agent: "a",
			record: func(r *record) {
				r.started("s1", "a", 1, "", "").
					failed("f1", "a", 1, killed, "s1", "").
					decided("d1", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 2}}}).
					started("s2", "a", 2, "d1", "f1").
					decided("d2", decided, "s2", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "heartbeat", Node: "a", Incarnation: 2}}, Effects: []out{{Kind: "running", Node: "a", Incarnation: 2}}})
			},
			want: "f1 d1 s2 d2",
		},
		{
			name: "after a delay, whose timer is no event", agent: "a",
			record: func(r *record) {
				r.failed("f1", "a", 4, contracts.ReasonHeartbeatTimeout, "", "").
					decided("d1", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "verdict", Node: "a", Incarnation: 4, Event: "f1"}}, Effects: []out{{Kind: "stop", Node: "a", Incarnation: 4}}}).
					decided("other", decided, "", "", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "z"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 9}}}).
					stopped("x1", "a", 4, "d1", "f1").
					decided("d2", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "stop_result", Node: "a", Incarnation: 4, Event: "x1"}}, Effects: []out{{Kind: "delay", Node: "a", Incarnation: 5}}}).
					decided("d3", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "timer"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 5}}}).
					started("s5", "a", 5, "d3", "f1").
					decided("d4", decided, "s5", "f1", contracts.DecisionsData{Effects: []out{{Kind: "running", Node: "a", Incarnation: 5}}})
			},
			want: "f1 d1 x1 d2 d3 s5 d4",
		},
		{
			name: "group: the cause is another agent's failure", agent: "b",
			record: func(r *record) {
				r.failed("fa", "a", 1, killed, "", "").
					decided("d1", decided, "fa", "fa", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "fa"}}, Effects: []out{{Kind: "stop", Node: "c", Incarnation: 1}, {Kind: "stop", Node: "b", Incarnation: 1}}}).
					stopped("xc", "c", 1, "d1", "fa").
					stopped("xb", "b", 1, "d1", "fa").
					decided("d2", decided, "xc", "fa", contracts.DecisionsData{
						Inputs:  []in{{Kind: "stop_result", Node: "c", Incarnation: 1, Event: "xc"}, {Kind: "stop_result", Node: "b", Incarnation: 1, Event: "xb"}},
						Effects: []out{{Kind: "start", Node: "a", Incarnation: 2, Input: 1}, {Kind: "start", Node: "b", Incarnation: 2, Input: 1}, {Kind: "start", Node: "c", Incarnation: 2, Input: 1}},
					}).
					started("sa", "a", 2, "d2", "fa").started("sb", "b", 2, "d2", "fa").started("sc", "c", 2, "d2", "fa").
					decided("d3", decided, "", "fa", contracts.DecisionsData{Effects: []out{{Kind: "running", Node: "a", Incarnation: 2}, {Kind: "running", Node: "b", Incarnation: 2}}})
			},
			want: "fa d1 xb d2 sb d3",
		},
		{
			name: "several stories in one decision", agent: "b",
			record: func(r *record) {
				r.failed("fa", "a", 1, killed, "", "").failed("fb", "b", 1, killed, "", "").
					decided("d1", decided, "fa", "fa", contracts.DecisionsData{
						Inputs:  []in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "fa"}, {Kind: "exit", Node: "b", Incarnation: 1, Event: "fb"}},
						Effects: []out{{Kind: "delay", Node: "a", Incarnation: 2, Correlation: "fa"}, {Kind: "delay", Node: "b", Incarnation: 2, Input: 1, Correlation: "fb"}},
					}).
					decided("d2", decided, "fa", "fa", contracts.DecisionsData{
						Inputs:  []in{{Kind: "timer"}},
						Effects: []out{{Kind: "start", Node: "a", Incarnation: 2, Correlation: "fa"}, {Kind: "start", Node: "b", Incarnation: 2, Correlation: "fb"}},
					}).
					started("sb", "b", 2, "d2", "fb")
			},
			want: "fb d1 d2 sb",
			note: "not verified",
		},
		{
			name: "a failed attempt in between", agent: "a",
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Incarnation: 1, Event: "f1"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 2}}}).
					started("s2", "a", 2, "d1", "f1").
					failed("u2", "a", 2, contracts.ReasonUnverified, "d1", "f1").
					decided("d2", decided, "u2", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "verdict", Node: "a", Incarnation: 2, Event: "u2"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 3}}}).
					started("s3", "a", 3, "d2", "f1").
					decided("d3", decided, "s3", "f1", contracts.DecisionsData{Effects: []out{{Kind: "running", Node: "a", Incarnation: 3}}})
			},
			want: "f1 d1 u2 d2 s3 d3",
		},
		{
			name: "a decision in several messages", agent: "b",
			record: func(r *record) {
				number := func(n uint64, more bool, d contracts.DecisionsData) contracts.DecisionsData {
					d.Number, d.More = n, more
					return d
				}
				r.part("d1b", "d1", 1)
				r.part("d1c", "d1", 2)
				r.part("d2b", "d2", 1)
				r.part("d3b", "d3", 1)
				r.failed("fa", "a", 1, killed, "", "").
					decided("d1", decided, "fa", "fa", number(1, true, contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Event: "fa"}}})).
					decided("d1b", decided, "fa", "fa", number(1, true, contracts.DecisionsData{Effects: []out{{Kind: "stop", Node: "a", Incarnation: 1}}})).
					decided("d1c", decided, "fa", "fa", number(1, false, contracts.DecisionsData{Effects: []out{{Kind: "stop", Node: "b", Incarnation: 1}}})).
					decided("d2", decided, "", "fa", number(2, true, contracts.DecisionsData{Inputs: []in{{Kind: "stop_result", Node: "b"}}})).
					decided("d2b", decided, "", "fa", number(2, false, contracts.DecisionsData{Effects: []out{{Kind: "start", Node: "b", Incarnation: 2}}})).
					started("sb", "b", 2, "d2", "fa").
					decided("d3", decided, "", "fa", number(3, true, contracts.DecisionsData{})).
					decided("d3b", decided, "", "fa", number(3, false, contracts.DecisionsData{Effects: []out{{Kind: "running", Node: "b", Incarnation: 2}}}))
			},
			want: "fa d1 d2 sb d3",
		},
		{
			name: "escalation", agent: "b",
			record: func(r *record) {
				r.failed("fa", "a", 3, killed, "", "").
					decided("esc", contracts.TreeEscalated, "fa", "fa", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Incarnation: 3, Event: "fa"}}, Effects: []out{{Kind: "escalate", Node: "sup"}, {Kind: "stop", Node: "b", Incarnation: 1}}}).
					decided("d2", decided, "", "fa", contracts.DecisionsData{Inputs: []in{{Kind: "stop_result", Node: "b", Incarnation: 1}}, Effects: []out{{Kind: "start", Node: "b", Incarnation: 2}}}).
					started("sb", "b", 2, "d2", "fa").
					decided("d3", decided, "", "fa", contracts.DecisionsData{Effects: []out{{Kind: "running", Node: "b", Incarnation: 2}}})
			},
			want: "fa esc d2 sb d3",
		},
		{
			name: "an operator's order", agent: "a",
			record: func(r *record) {
				r.decided("d1", decided, "", "", contracts.DecisionsData{Inputs: []in{{Kind: "command", Node: "a", Detail: "restart: new version"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 2}}}).
					started("s2", "a", 2, "d1", "d1")
			},
			want: "d1 s2", note: "not verified",
		},
		{
			name: "failed again before it was verified", agent: "a",
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Event: "f1"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 2}}}).
					started("s2", "a", 2, "d1", "f1").
					failed("f2", "a", 2, killed, "s2", "")
			},
			want: "f2", // what had started it is another story
		},
		{
			name: "the beginning has been dropped", agent: "a",
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Event: "f1"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 2}}}).
					started("s2", "a", 2, "d1", "f1")
				r.gone[r.id("f1")] = true
			},
			want: "d1 s2", gap: true, note: "no longer stored",
		},
		{
			name: "causes in a circle", agent: "a",
			record: func(r *record) {
				r.stopped("x1", "a", 1, "s2", "").started("s2", "a", 2, "x1", "")
			},
			want: "x1 s2", note: "not verified",
		},
		{
			name: "a start without a cause", agent: "a",
			record: func(r *record) { r.started("s2", "a", 2, "", "") },
			want:   "s2", note: "not verified",
		},
		{
			name: "decision without any content", agent: "a",
			record: func(r *record) {
				r.decided("d1", decided, "", "", contracts.DecisionsData{}).started("s2", "a", 2, "d1", "d1")
			},
			want: "d1 s2", note: "not verified",
		},
		{
			name: "an input index out of range", agent: "a",
			record: func(r *record) {
				r.failed("f1", "a", 1, killed, "", "").
					decided("d1", decided, "f1", "f1", contracts.DecisionsData{Inputs: []in{{Kind: "exit", Node: "a", Event: "f1"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 2, Input: 7}}}).
					started("s2", "a", 2, "d1", "f1")
			},
			want: "f1 d1 s2", note: "not verified",
		},
		{
			name: "never restarted", agent: "a",
			record: func(r *record) {
				r.decided("d1", decided, "", "", contracts.DecisionsData{Inputs: []in{{Kind: "config"}}, Effects: []out{{Kind: "start", Node: "a", Incarnation: 1}}}).
					started("s1", "a", 1, "d1", "").
					decided("d2", decided, "s1", "", contracts.DecisionsData{Effects: []out{{Kind: "running", Node: "a", Incarnation: 1}}})
			},
			want: "d1 s1 d2", note: "first incarnation",
		},
		{
			name: "never started, but failed", agent: "a",
			record: func(r *record) { r.failed("f", "a", 0, contracts.ReasonHeartbeatTimeout, "", "") },
			want:   "f",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(t)
			tt.record(r)
			got, known, err := Why(r, Question{Node: tt.agent})
			if err != nil || !known {
				t.Fatalf("known: %v, error: %v", known, err)
			}
			var names []string
			for _, l := range got.Chain {
				names = append(names, r.name(l.ID))
				if l.Evidence == "" || strings.ContainsAny(l.Evidence, "\n\r") || l.Sequence == 0 || l.Time.IsZero() {
					t.Errorf("link %+v", l)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(names, " ")); diff != "" {
				t.Errorf("chain (-want +got):\n%s", diff)
			}
			if got.Complete == tt.gap {
				t.Errorf("complete = %v", got.Complete)
			}
			if tt.note == "" && got.Note != "" || !strings.Contains(got.Note, tt.note) {
				t.Errorf("note = %q, want %q", got.Note, tt.note)
			}
		})
	}
}

func TestWhyUnknown(t *testing.T) {
	_, known, err := Why(newRecord(t), Question{Node: "nobody"})
	if known || err != nil {
		t.Errorf("known: %v, error: %v", known, err)
	}
}

func TestWhyIsBounded(t *testing.T) {
	r := newRecord(t)
	for i := range 3 * maxLinks {
		cause := ""
		if i > 0 {
			cause = fmt.Sprint("x", i-1)
		}
		r.stopped(fmt.Sprint("x", i), "a", 1, cause, "")
	}
	r.started("s", "a", 2, fmt.Sprint("x", 3*maxLinks-1), "")
	got, _, err := Why(r, Question{Node: "a"})
	if err != nil || len(got.Chain) > maxLinks+2 || got.Complete {
		t.Errorf("%d links, complete: %v, error: %v", len(got.Chain), got.Complete, err)
	}
}

func TestWhyReportsTheLogsError(t *testing.T) {
	r := newRecord(t)
	r.started("s2", "a", 2, "d1", "")
	r.broken = errors.New("out of reach")
	if _, _, err := Why(r, Question{Node: "a"}); !errors.Is(err, r.broken) {
		t.Errorf("error = %v", err)
	}
}

func TestEvidence(t *testing.T) {
	r := newRecord(t)
	due := time.Date(2026, 1, 1, 10, 0, 7, 5e8, time.UTC)
	r.add("quiet", contracts.AgentFailed, "a", "", "", contracts.AgentFailedData{
		Agent: "a", Incarnation: 3, Reason: contracts.ReasonHeartbeatTimeout,
		Silence: &contracts.Silence{Phi: 9.13, Threshold: 8, Elapsed: contracts.Duration(3200 * time.Millisecond), Samples: 40},
	})
	r.add("exit", contracts.AgentFailed, "a", "", "", contracts.AgentFailedData{
		Agent: "a", Incarnation: 3, Reason: contracts.ReasonExited, Runner: "r1", Exit: &contracts.Exit{
			Code: 2, Tail: "hello\nout of\tmemory\n", Lived: contracts.Duration(3254 * time.Millisecond),
			Used: &contracts.Resources{User: contracts.Duration(1234567 * time.Microsecond), System: contracts.Duration(time.Millisecond), PeakMemory: 48 << 20},
		},
	})
	r.add("said", contracts.AgentFailed, "a", "", "", contracts.AgentFailedData{Agent: "a", Incarnation: 3, Reason: contracts.ReasonHung, Detail: "stands\nstill"})
	r.add("custom", contracts.CustomEventType("x"), "a", "", "", nil)
	r.add("lost", contracts.AgentFailed, "a", "", "", contracts.AgentFailedData{
		Agent: "a", Incarnation: 3, Reason: contracts.ReasonHostLost, Runner: "r1", Exit: &contracts.Exit{Code: -1, Unknown: true, Blame: contracts.BlameHost},
	})
	r.stopped("stop", "a", 3, "", "").started("start", "a", 4, "", "")
	want := []string{
		"a#3 heartbeat_timeout: no heartbeat for 3.2s (phi 9.1, threshold 8.0, 40 samples)",
		`a#3 exited: ended with exit code 2, last words "out of\tmemory" on r1; it lived for 3.25s and used 1.24s of processor time and 48MiB of memory at its peak`,
		"a#3 hung: stands still",
		"test/t reports custom.x about a",
		"a#3 host_lost: ended with its host on r1",
		"a#3 stopped on request",
		"a#4 started on r1 as process 42",
	}
	for i, e := range r.events {
		if got := evidence(e.Event); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
	}
	d := contracts.DecisionsData{
		Number: 7, Inputs: []in{{Kind: "exit", Node: "a", Incarnation: 3, Detail: "exit code 2"}},
		Effects: []out{{Kind: "delay", Node: "a", Incarnation: 4, Due: &due, Detail: "2 of 5 restarts"}, {Kind: "stop", Node: "b"}, {Kind: "stop", Node: "c"}},
	}
	const sentence = "decision 7, exit of a#3 (exit code 2): a#4, 2 of 5 restarts; also stop b, c"
	if got := decisionEvidence(d, &d.Effects[0], &d.Inputs[0]); got != sentence {
		t.Errorf("got  %s\nwant %s", got, sentence)
	}
}
