package eventstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

func rejections(w *world) contracts.QueryRequest {
	return contracts.QueryRequest{EventFilter: contracts.EventFilter{Types: []contracts.EventType{contracts.SystemMessageRejected}}}
}

// TestMalformedAreSetAside stores what is no event between events: each is set
// aside with its origin and cause, counted and reported, and none stops the
// index or shows up in an answer.
func TestMalformedAreSetAside(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		good := w.custom(1, "a")[0]
		envelope := func(id, typ, subject string) string {
			return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"s","type":%q,"subject":%q,"time":"2026-01-01T00:00:00Z"}`, id, typ, subject)
		}
		id := good.ID
		type bad struct{ subject, body, reason string }
		var sequences []uint64
		bads := []bad{
			{"smith.event.agent.failed.a", "oops", "not_json"},
			{"smith.event.agent.failed.a", "", "not_json"},
			{"smith.event.agent.failed.a", `{"agent":"a"}`, "not_cloudevent"},
			{"smith.event.agent.failed.a", envelope("7", "smith.agent.failed", "a"), "wrong_id"},
			{"smith.event.agent.failed.a", envelope(id, "smith.agent.stopped", "a"), "subject_mismatch"},
			{"smith.event.agent.failed.a", envelope(id, "smith.agent.failed", "b"), "subject_mismatch"},
			{"smith.event.x", envelope(id, "smith.agent.failed", "a"), "subject_mismatch"},
			{"smith.event.agent.failed.a.b.c", envelope(id, "smith.agent.failed", "a"), "subject_mismatch"},
			{"smith.event.agent.exploded.a", envelope(id, "smith.agent.exploded", "a"), "invalid"},
			{"smith.event.agent.failed.a", `{"x":"` + strings.Repeat("x", contracts.MaxEventBytes) + `"}`, "too_large"},
		}
		for _, b := range bads {
			sequences = append(sequences, w.raw(b.subject, b.body))
			w.custom(1, "a")
		}
		last := w.custom(1, "a")[0]
		if _, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: last.ID}); err != nil {
			t.Fatal(err)
		}
		if got := w.query(contracts.QueryRequest{EventFilter: contracts.EventFilter{Entity: "a"}}); len(got) != len(bads)+2 {
			t.Errorf("%d events in the answer, want %d", len(got), len(bads)+2)
		}
		dead := w.dead()
		if len(dead) != len(bads) {
			t.Fatalf("%d set aside, want %d", len(dead), len(bads))
		}
		for i, m := range dead {
			want := map[string]string{"on": "smith.dead.event." + bads[i].reason, "origin": bads[i].subject, "sequence": fmt.Sprint(sequences[i]), "body": bads[i].body}
			got := map[string]string{"on": m.Subject, "origin": m.Header.Get("Smith-Origin"), "sequence": m.Header.Get("Smith-Sequence"), "body": string(m.Data)}
			if diff := cmp.Diff(want, got); diff != "" || m.Header.Get("Smith-Cause") == "" || m.Header.Get("Smith-Stored") == "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		stats, err := call[contracts.StoreStats](w, "stats", nil)
		if err != nil || stats.Rejected != uint64(len(bads)) || stats.Indexed != stats.LastSequence {
			t.Errorf("stats %+v, %v", stats, err)
		}
		if got := w.value("smith_eventstore_rejected_total"); got != float64(len(bads)) {
			t.Errorf("counted %v", got)
		}
		reports, err := call[contracts.EventsReply](w, "query", rejections(w))
		if err != nil || len(reports.Events) != 1 { // one in ten seconds
			t.Fatalf("%d reports, %v", len(reports.Events), err)
		}
		d, err := contracts.DecodeData[contracts.SystemRejectedData](reports.Events[0].Event)
		if err != nil || d.Origin != bads[0].subject || d.Sequence != sequences[0] || d.SetAside != dead[0].Subject || d.Cause == "" {
			t.Errorf("report %+v, %v", d, err)
		}
	})
}

// TestMalformedReportsDoNotGoRound: a malformed report about a malformed
// message is set aside, but not reported.
func TestMalformedReportsDoNotGoRound(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		for range 3 {
			w.raw("smith.event.system.message_rejected.eventstore", "oops")
			w.pass(time.Minute)
		}
		if n := len(w.dead()); n != 3 {
			t.Errorf("%d set aside", n)
		}
		if got := w.query(rejections(w)); len(got) != 0 {
			t.Errorf("reports: %v", got)
		}
		stats, err := call[contracts.StoreStats](w, "stats", nil)
		if err != nil || stats.Events != 3 {
			t.Errorf("stats %+v, %v", stats, err)
		}
	})
}

// TestSetAsideOnce: when the index is built anew, what was set aside before is
// neither set aside nor counted nor reported again.
func TestSetAsideOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) { // an index in memory: gone with each stop
		for range 3 {
			w.raw("smith.event.agent.failed.a", "oops")
			w.raw("smith.event.agent.failed.a", "{}")
			w.custom(1, "a")
			w.pass(time.Minute)
		}
		w.stop()
		w.pass(time.Hour) // beyond the window in which the server drops doubles
		w.start()
		w.raw("smith.event.agent.failed.a", "{")
		w.custom(1, "a")
		w.settle()
		w.pass(time.Second)
		if n := len(w.dead()); n != 7 {
			t.Errorf("%d set aside, want 7", n)
		}
		if got := w.value("smith_eventstore_rejected_total"); got != 1 {
			t.Errorf("counted %v after the restart", got)
		}
	})
}
