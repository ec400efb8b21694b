package eventstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

func asAPI(err error, target **shell.APIError) bool { return errors.As(err, target) }

func TestGetAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		for range 50 { // asked for the moment it is stored
			e := w.custom(1, "a")[0]
			got, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: e.ID})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got.Event); diff != "" || got.Sequence == 0 {
				t.Fatalf("at %d (-stored +got):\n%s", got.Sequence, diff)
			}
		}
		_, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: uuid.NewString()})
		if code(err) != contracts.CodeNotFound {
			t.Errorf("an event never stored: %v", err)
		}
	})
}

func TestQueryFilters(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		begin := time.Now()
		at := func(d time.Duration) *time.Time { x := begin.Add(d); return &x }
		var all []contracts.Event
		add := func(source string, typ contracts.EventType, entity string, o ...option) contracts.Event {
			e := w.event(source, typ, entity, o...)
			w.store(e)
			all = append(all, e)
			w.pass(time.Minute)
			return e
		}
		tale := uuid.NewString()
		e0 := add("detector/d1", contracts.AgentCreated, "a")
		e1 := add("detector/d1", contracts.AgentFailed, "a", story(tale))
		e2 := add("runner/r1", contracts.AgentFailed, "b", story(tale))
		e3 := add("supervisor/s", contracts.TreeDecided, "main", story(tale))
		e4 := add("me", contracts.CustomEventType("x"), "a")

		for _, tt := range []struct {
			name   string
			filter contracts.EventFilter
			want   []contracts.Event
		}{
			{"all", contracts.EventFilter{}, all},
			{"type exactly", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentCreated}}, []contracts.Event{e0}},
			{"type without prefix", contracts.EventFilter{Types: []contracts.EventType{"agent.failed"}}, []contracts.Event{e1, e2}},
			{"types", contracts.EventFilter{Types: []contracts.EventType{contracts.TreeDecided, contracts.AgentCreated, contracts.AgentCreated}}, []contracts.Event{e0, e3}},
			{"entity", contracts.EventFilter{Entity: "a"}, []contracts.Event{e0, e1, e4}},
			{"type and entity", contracts.EventFilter{Types: []contracts.EventType{contracts.AgentFailed}, Entity: "a"}, []contracts.Event{e1}},
			{"source", contracts.EventFilter{Sources: []string{"detector/d1"}}, []contracts.Event{e0, e1}},
			{"kind of source", contracts.EventFilter{Sources: []string{"runner", "me"}}, []contracts.Event{e2, e4}},
			{"part of a source is none", contracts.EventFilter{Sources: []string{"detect", "detector/"}}, nil},
			{"story", contracts.EventFilter{Correlations: []string{tale}}, []contracts.Event{e1, e2, e3}},
			{"two stories", contracts.EventFilter{Correlations: []string{tale, e0.ID}}, []contracts.Event{e0, e1, e2, e3}},
			{"story and type", contracts.EventFilter{Correlations: []string{tale}, Types: []contracts.EventType{contracts.AgentFailed}}, []contracts.Event{e1, e2}},
			{"from", contracts.EventFilter{From: at(2 * time.Minute)}, []contracts.Event{e2, e3, e4}},
			{"to, which is excluded", contracts.EventFilter{To: at(2 * time.Minute)}, []contracts.Event{e0, e1}},
			{"from to", contracts.EventFilter{From: at(time.Minute), To: at(3*time.Minute + 1)}, []contracts.Event{e1, e2, e3}},
			{"time and type", contracts.EventFilter{From: at(time.Minute), Types: []contracts.EventType{contracts.AgentFailed}, Entity: "b"}, []contracts.Event{e2}},
			{"before everything", contracts.EventFilter{To: at(-time.Hour)}, nil},
			{"after everything", contracts.EventFilter{From: at(10 * time.Minute)}, nil},
		} {
			if diff := cmp.Diff(ids(tt.want...), w.query(contracts.QueryRequest{EventFilter: tt.filter})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
			last := w.query(contracts.QueryRequest{EventFilter: tt.filter, Last: true, Limit: 2})
			if diff := cmp.Diff(ids(tt.want[max(0, len(tt.want)-2):]...), last); diff != "" {
				t.Errorf("%s, the last two (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

// TestQueryByOwnTime finds events by when they happened, though they were
// stored much later or by a clock that is wrong.
func TestQueryByOwnTime(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		noon := time.Now()
		at := func(d time.Duration) *time.Time { x := noon.Add(d); return &x }
		x := contracts.CustomEventType("x")
		before := w.custom(1, "a")[0]
		future := w.eventAt(noon.Add(20*time.Minute), "test/t", x, "a")
		w.store(future)
		w.pass(20 * time.Minute)
		between := w.event("test/t", x, "a")
		late := w.eventAt(noon.Add(time.Second), "test/t", x, "a")
		w.store(between, late)
		if diff := cmp.Diff(ids(before, late), w.query(contracts.QueryRequest{EventFilter: contracts.EventFilter{To: at(10 * time.Minute)}})); diff != "" {
			t.Errorf("around noon (-want +got):\n%s", diff)
		}
		filter := contracts.EventFilter{From: at(10 * time.Minute), To: at(30 * time.Minute)}
		if diff := cmp.Diff(ids(future, between), w.query(contracts.QueryRequest{EventFilter: filter})); diff != "" {
			t.Errorf("two hours later (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ids(future, between), w.query(contracts.QueryRequest{EventFilter: filter, Last: true})); diff != "" {
			t.Errorf("two hours later, the last (-want +got):\n%s", diff)
		}
	})
}

// TestPages walks through answers in pages of every size: nothing is missed,
// nothing comes twice, and the last page says that it is.
func TestPages(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		tale := uuid.NewString()
		var want []contracts.Event
		for i := range 30 {
			e := w.custom(1, "a", story(tale))[0]
			w.custom(i%3, "b")
			want = append(want, e)
		}
		for _, filter := range []contracts.EventFilter{{Entity: "a"}, {Correlations: []string{tale}}} {
			for _, size := range []int{1, 7, 10, 29, 30, 31} {
				var got []string
				pages := 0
				for req := (contracts.QueryRequest{EventFilter: filter, Limit: size}); ; pages++ {
					r, err := call[contracts.EventsReply](w, "query", req)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, repliedIDs(r)...)
					if r.Next == 0 {
						break
					}
					req.Cursor = r.Next
				}
				if diff := cmp.Diff(ids(want...), got); diff != "" || pages != (29/size) {
					t.Errorf("pages of %d: %d more (-want +got):\n%s", size, pages, diff)
				}
			}
		}
		r, err := call[contracts.EventsReply](w, "correlation", contracts.CorrelationRequest{ID: tale, Limit: 3})
		if err != nil || !cmp.Equal(repliedIDs(r), ids(want[:3]...)) || r.Next == 0 {
			t.Errorf("correlation: %v, next %d, %v", repliedIDs(r), r.Next, err)
		}
	})
}

// TestLargeEvents fills pages by size, not only by number.
func TestLargeEvents(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		big := w.custom(3, "a", data(strings.Repeat("x", 400<<10)))
		// As JSON in a reply every < takes six bytes: it can be stored, not given.
		huge := w.event("test/t", contracts.CustomEventType("x"), "b")
		huge.Data = []byte(`"` + strings.Repeat("<", 300<<10) + `"`)
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"test/t","type":%q,"subject":"b","time":%q,"data":%s}`,
			huge.ID, huge.Type, huge.Time.Format(time.RFC3339Nano), huge.Data)
		w.raw(huge.Subject(), body)

		r, err := call[contracts.EventsReply](w, "query", contracts.QueryRequest{EventFilter: contracts.EventFilter{Entity: "a"}})
		if err != nil || len(r.Events) != 2 || r.Next == 0 {
			t.Fatalf("%d events, next %d, %v", len(r.Events), r.Next, err)
		}
		rest := w.query(contracts.QueryRequest{EventFilter: contracts.EventFilter{Entity: "a"}, Cursor: r.Next})
		if diff := cmp.Diff(ids(big[2]), rest); diff != "" {
			t.Error(diff)
		}
		if got := w.query(contracts.QueryRequest{EventFilter: contracts.EventFilter{Entity: "a"}, Last: true}); !cmp.Equal(got, ids(big[1:]...)) {
			t.Errorf("the last: %v", got)
		}
		for _, req := range []contracts.QueryRequest{{EventFilter: contracts.EventFilter{Entity: "b"}}, {EventFilter: contracts.EventFilter{Entity: "b"}, Last: true}} {
			if _, err := call[contracts.EventsReply](w, "query", req); code(err) != contracts.CodeTooLarge || !strings.Contains(err.Error(), huge.ID) {
				t.Errorf("%+v: %v", req, err)
			}
		}
		if _, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: huge.ID}); code(err) != contracts.CodeTooLarge {
			t.Errorf("get: %v", err)
		}
	})
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		now, before := time.Now(), time.Now().Add(-time.Hour)
		long := make([]string, 65)
		for i := range long {
			long[i] = "s"
		}
		for _, tt := range []struct {
			verb string
			req  any
			want string
			says string
		}{
			{"query", "text", contracts.CodeBadRequest, "JSON"},
			{"query", map[string]any{"from": "yesterday"}, contracts.CodeBadRequest, "yesterday"},
			{"query", contracts.QueryRequest{Limit: 1001}, contracts.CodeBadRequest, "1001"},
			{"query", contracts.QueryRequest{Limit: -1}, contracts.CodeBadRequest, "-1"},
			{"query", contracts.QueryRequest{Last: true, Cursor: 3}, contracts.CodeBadRequest, "cursor"},
			{"query", contracts.QueryRequest{EventFilter: contracts.EventFilter{From: &now, To: &before}}, contracts.CodeBadRequest, "not before"},
			{"query", contracts.QueryRequest{EventFilter: contracts.EventFilter{Types: []contracts.EventType{"agent.*"}}}, contracts.CodeBadRequest, "agent.*"},
			{"query", contracts.QueryRequest{EventFilter: contracts.EventFilter{Entity: "a.>"}}, contracts.CodeBadRequest, "a.>"},
			{"query", contracts.QueryRequest{EventFilter: contracts.EventFilter{Sources: long}}, contracts.CodeBadRequest, "sources"},
			{"get", contracts.EventRequest{}, contracts.CodeBadRequest, "UUID"},
			{"get", contracts.EventRequest{ID: strings.Repeat("x", 10<<10)}, contracts.CodeBadRequest, "UUID"},
			{"correlation", contracts.CorrelationRequest{}, contracts.CodeBadRequest, "correlations"},
			{"why", contracts.AgentRequest{Agent: "no one"}, contracts.CodeBadRequest, "no one"},
			{"why", contracts.AgentRequest{Agent: "nobody"}, contracts.CodeNotFound, "nobody"},
			{"query", strings.Repeat("x", contracts.MaxRequestBytes), contracts.CodeTooLarge, "bytes"},
			{"replay", contracts.ReplayRequest{Speed: -1}, contracts.CodeBadRequest, "speed"},
			{"replay", contracts.ReplayRequest{Limit: -1}, contracts.CodeBadRequest, "limit"},
			{"replay", contracts.ReplayRequest{EventFilter: contracts.EventFilter{Entity: "*"}}, contracts.CodeBadRequest, "entity"},
			{"replay", "text", contracts.CodeBadRequest, "JSON"},
		} {
			before := w.value("smith_messages_rejected_total")
			_, err := call[map[string]any](w, tt.verb, tt.req)
			w.pass(time.Millisecond) // the answer comes first
			if got := w.value("smith_messages_rejected_total") - before; (got == 1) != (tt.want != contracts.CodeNotFound) {
				t.Errorf("%s %.80v: counted %v times", tt.verb, tt.req, got)
			}
			if code(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s %.80v: %v, want %s with %q", tt.verb, tt.req, err, tt.want, tt.says)
			}
		}
		if got := w.value("smith_eventstore_request_duration_seconds"); got == 0 {
			t.Error("no request was measured")
		}
	})
}
