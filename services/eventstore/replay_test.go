package eventstore_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

// replayed is what came of a replay.
type replayed struct {
	ids   []string
	at    []time.Duration // since the request
	idle  int
	end   string
	fault string
}

// listener receives one replay.
type listener struct {
	w     *world
	sub   *nats.Subscription
	begin time.Time
	replayed
}

func (w *world) replay(req any) *listener {
	w.t.Helper()
	l := &listener{w: w, begin: time.Now()}
	inbox := w.env.NC.NewInbox()
	var err error
	if l.sub, err = w.env.NC.SubscribeSync(inbox); err != nil {
		w.t.Fatal(err)
	}
	if err := w.env.NC.PublishRequest(contracts.ServiceSubject(contracts.ServiceEventStore, "replay"), inbox, encoded(w.t, req)); err != nil {
		w.t.Fatal(err)
	}
	return l
}

// next takes one message and says whether the replay goes on. It answers what
// wants an answer, unless told not to.
func (l *listener) next(answer bool) bool {
	l.w.t.Helper()
	m, err := l.sub.NextMsg(24 * time.Hour)
	if err != nil {
		l.fault = err.Error()
		return false
	}
	if seq := m.Header.Get(contracts.HeaderSequence); seq != "" {
		e, err := contracts.DecodeEvent("", m.Data)
		if err != nil {
			l.w.t.Fatal(err)
		}
		l.ids, l.at = append(l.ids, e.ID), append(l.at, time.Since(l.begin))
		if flow := m.Header.Get(contracts.HeaderFlow); flow != "" && answer {
			if err := l.w.env.NC.Publish(flow, nil); err != nil {
				l.w.t.Fatal(err)
			}
		}
		return true
	}
	if m.Header.Get(contracts.HeaderIdle) != "" {
		l.idle++
		return true
	}
	l.end, l.fault = m.Header.Get(contracts.HeaderEnd), m.Header.Get(contracts.HeaderError)+m.Header.Get(micro.ErrorHeader)
	return false
}

func (l *listener) all() replayed {
	l.w.t.Helper()
	for l.next(true) {
	}
	_ = l.sub.Unsubscribe()
	return l.replayed
}

func TestReplayAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		var want []contracts.Event
		for i := range 700 { // more than two windows
			if i%100 == 0 {
				w.pass(time.Minute)
				w.custom(3, "other")
			}
			want = append(want, w.custom(1, "a")...)
		}
		filter := contracts.EventFilter{Entity: "a"}
		got := w.replay(contracts.ReplayRequest{EventFilter: filter}).all()
		if diff := cmp.Diff(ids(want...), got.ids); diff != "" || got.end != "700" || got.fault != "" {
			t.Errorf("end %q, fault %q (-want +got):\n%s", got.end, got.fault, diff)
		}
		got = w.replay(contracts.ReplayRequest{EventFilter: filter, Limit: 300}).all()
		if diff := cmp.Diff(ids(want[:300]...), got.ids); diff != "" || got.end != "300" {
			t.Errorf("limited: end %q (-want +got):\n%s", got.end, diff)
		}
		from, to := want[200].Time, want[400].Time
		got = w.replay(contracts.ReplayRequest{EventFilter: contracts.EventFilter{Entity: "a", From: &from, To: &to}}).all()
		if diff := cmp.Diff(ids(want[200:400]...), got.ids); diff != "" {
			t.Errorf("by time (-want +got):\n%s", diff)
		}
		got = w.replay(contracts.ReplayRequest{EventFilter: contracts.EventFilter{Entity: "nobody"}}).all()
		if len(got.ids) != 0 || got.end != "0" {
			t.Errorf("of nothing: %+v", got)
		}
	})
}

// TestReplayPace replays in original and in scaled time, exactly.
func TestReplayPace(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		gaps := []time.Duration{0, time.Second, 0, 1500 * time.Millisecond, 3 * time.Minute}
		var offset []time.Duration
		sum := time.Duration(0)
		for _, g := range gaps {
			w.pass(g)
			sum += g
			offset = append(offset, sum)
			w.custom(1, "a")
		}
		for _, speed := range []float64{1, 10, 0.5} {
			got := w.replay(contracts.ReplayRequest{Speed: speed}).all()
			if len(got.at) != len(gaps) || got.fault != "" {
				t.Fatalf("speed %v: %+v", speed, got)
			}
			for i, at := range got.at {
				if want := time.Duration(float64(offset[i]) / speed); at != want {
					t.Errorf("speed %v: event %d came after %s, want %s", speed, i, at, want)
				}
			}
			// A sign of life every ten seconds.
			if want := int(float64(3*time.Minute)/speed/float64(10*time.Second)) - 1; got.idle < want || got.idle > want+1 {
				t.Errorf("speed %v: %d signs of life, want about %d", speed, got.idle, want)
			}
		}
	})
}

// TestReplayWithoutAnswers: whoever does not say that it keeps up gets no more
// than a window, and is told why.
func TestReplayWithoutAnswers(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		events := w.custom(300, "a")
		l := w.replay(contracts.ReplayRequest{})
		for l.next(false) {
		}
		if len(l.ids) != 256 || !strings.Contains(l.fault, "Smith-Flow") {
			t.Fatalf("%d events, fault %q", len(l.ids), l.fault)
		}
		_, cursor, _ := strings.Cut(l.fault, "cursor ")
		after, err := strconv.ParseUint(cursor, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rest := w.replay(contracts.ReplayRequest{Cursor: after}).all()
		if diff := cmp.Diff(ids(events[256:]...), rest.ids); diff != "" {
			t.Errorf("taken up (-want +got):\n%s", diff)
		}
	})
}

// TestReplayOfLargeEvents asks for answers by size.
func TestReplayOfLargeEvents(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		w.custom(14, "a", data(strings.Repeat("x", 400<<10)))
		l := w.replay(contracts.ReplayRequest{})
		for l.next(false) {
		}
		if len(l.ids) < 10 || len(l.ids) > 11 || !strings.Contains(l.fault, "Smith-Flow") {
			t.Errorf("%d events, fault %q", len(l.ids), l.fault)
		}
	})
}

// TestReplayCancelled: unsubscribing ends a replay, at the next event or sign
// of life at the latest.
func TestReplayCancelled(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		w.custom(1, "a")
		w.pass(5 * time.Minute)
		w.custom(1, "a")
		l := w.replay(contracts.ReplayRequest{Speed: 1})
		l.next(true)
		w.settle()
		if got := w.value("smith_eventstore_replays"); got != 1 {
			t.Errorf("%v replays run", got)
		}
		if err := l.sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		w.pass(11 * time.Second)
		if got := w.value("smith_eventstore_replays"); got != 0 {
			t.Errorf("%v replays run after it was cancelled", got)
		}
	})
}

// TestReplayBounds runs as many as may run at once; one more is refused. When
// the service stops, each is told so.
func TestReplayBounds(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		w.custom(1, "a")
		w.pass(5 * time.Minute)
		w.custom(1, "a")
		var running []*listener
		for range 16 {
			l := w.replay(contracts.ReplayRequest{Speed: 1})
			l.next(true)
			running = append(running, l)
		}
		if got := w.replay(contracts.ReplayRequest{}).all(); !strings.Contains(got.fault, "16 replays") {
			t.Errorf("one more: %+v", got)
		}
		nc := w.server.Connect(w.t)
		moved := make([]*listener, 0, len(running))
		for range running { // listeners on a connection that outlives the service's
			l := &listener{w: w, begin: time.Now()}
			l.sub, _ = nc.SubscribeSync(nats.NewInbox())
			moved = append(moved, l)
		}
		for i, l := range running {
			if i < 4 {
				if err := l.sub.Unsubscribe(); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.pass(11 * time.Second)
		for i := range 4 {
			if err := nc.PublishRequest("smith.eventstore.replay", moved[i].sub.Subject, []byte(`{"speed":1}`)); err != nil {
				t.Fatal(err)
			}
			moved[i].next(true)
		}
		w.stop()
		for i := range 4 {
			for moved[i].next(true) {
			}
			if !strings.Contains(moved[i].fault, "stopping") || !strings.Contains(moved[i].fault, "cursor 1") {
				t.Errorf("told %q", moved[i].fault)
			}
		}
	})
}

// TestReplayIntoTheSystem: the store does not publish where a requester might
// not, and reports those who want it to.
func TestReplayIntoTheSystem(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		w.custom(3, "a")
		for _, to := range []string{"smith.event.custom.x.b", "smith.runner.r.stop", "$JS.API.STREAM.DELETE.SMITH_EVENTS"} {
			for _, verb := range []string{"replay", "stats", "get"} {
				if err := w.env.NC.PublishRequest("smith.eventstore."+verb, to, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.settle()
		w.pass(time.Second)
		if got := w.value("smith_eventstore_replayed_total"); got != 0 {
			t.Errorf("%v events sent", got)
		}
		if got := w.value("smith_messages_rejected_total"); got != 9 {
			t.Errorf("%v counted", got)
		}
		reports, err := call[contracts.EventsReply](w, "query", rejections(w))
		if err != nil || len(reports.Events) != 1 { // one in ten seconds
			t.Fatalf("%d reports, %v", len(reports.Events), err)
		}
		d, err := contracts.DecodeData[contracts.SystemRejectedData](reports.Events[0].Event)
		if err != nil || !strings.HasPrefix(d.Origin, "smith.eventstore.") || !strings.Contains(d.Cause, "is no inbox") {
			t.Errorf("report %+v, %v", d, err)
		}
		stats, err := call[contracts.StoreStats](w, "stats", nil)
		if err != nil || stats.Events != 4 || stats.LastSequence != 4 {
			t.Errorf("the stream has changed: %+v, %v", stats, err)
		}
	})
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(fmt.Errorf("encode %T: %w", v, err))
	}
	return raw
}
