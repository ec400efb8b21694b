package eventstore_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

func (w *world) mustGet(events ...contracts.Event) {
	w.t.Helper()
	for _, e := range events {
		got, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: e.ID})
		if err != nil || got.Event.ID != e.ID {
			w.t.Fatalf("event %s: %v", e.ID, err)
		}
	}
}

// TestRestartGoesOn keeps the index on disk over a stop: it goes on where it
// was.
func TestRestartGoesOn(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{IndexDir: t.TempDir()}, func(w *world) {
		old := w.custom(600, "a")
		w.mustGet(old[0], old[599])
		w.stop()
		w.start()
		fresh := w.custom(5, "a")
		w.mustGet(append(fresh, old[0], old[511], old[512], old[599])...)
		if got := w.value("smith_eventstore_indexed_total"); got != 5 {
			t.Errorf("indexed %v after the restart, want 5", got)
		}
		if got := w.value("smith_eventstore_index_rebuilds_total"); got != 0 {
			t.Errorf("rebuilt %v times", got)
		}
	})
}

// TestIndexIsDisposable loses the index in several ways between a stop and a
// start. The answers are the same.
func TestIndexIsDisposable(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"garbage": func(t *testing.T, dir string) {
			paths, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			for _, p := range paths {
				if err := os.WriteFile(p, []byte("garbage"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"damaged inside": func(t *testing.T, dir string) {
			paths, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
			if len(paths) == 0 {
				t.Fatal("no tables")
			}
			for _, p := range paths {
				raw, err := os.ReadFile(p)
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(raw)/2; i += 5 {
					raw[i] ^= 0xff
				}
				if err := os.WriteFile(p, raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			inWorld(t, eventstore.Config{IndexDir: dir}, func(w *world) {
				events := w.custom(600, "a")
				w.mustGet(events[599])
				w.stop()
				lose(t, filepath.Join(dir, "event-index"))
				w.start()
				for e := range slices.Chunk(events, 20) {
					w.mustGet(e[0])
				}
				want := w.query(contracts.QueryRequest{Limit: 1000})
				if len(want) != 600 {
					t.Errorf("%d events", len(want))
				}
			})
		})
	}
}

// TestStreamMadeAnew replaces the stream, while the service runs and while it
// does not: nothing of the old one is answered any more.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		inWorld(t, eventstore.Config{IndexDir: t.TempDir()}, func(w *world) {
			old := w.custom(10, "a")
			w.mustGet(old...)
			if running {
				w.recreate()
			} else {
				env := w.env
				w.stop()
				w.env.NC = w.server.Connect(w.t)
				w.env.JS = natstest.JetStream(w.t, w.env.NC)
				w.recreate()
				w.env = env
				w.start()
			}
			fresh := w.custom(20, "a") // on the same sequences
			w.mustGet(fresh...)
			for _, e := range old {
				if _, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: e.ID}); code(err) != contracts.CodeNotFound {
					t.Errorf("running %v: an event of the old stream: %v", running, err)
				}
			}
			if diff := cmp.Diff(ids(fresh...), w.query(contracts.QueryRequest{})); diff != "" {
				t.Errorf("running %v (-want +got):\n%s", running, diff)
			}
		})
	}
}

// TestAgedEvents has events leave a stream that is full: they are unknown, and
// the index forgets them.
func TestAgedEvents(t *testing.T) {
	t.Parallel()
	cfg := eventstore.Config{IndexDir: t.TempDir(), Streams: contracts.StreamOptions{MaxBytes: 1 << 20}}
	inWorld(t, cfg, func(w *world) {
		tale := uuid.NewString()
		noise := func() { w.custom(3, "noise", data(strings.Repeat("x", 500<<10))) }
		old := w.custom(3, "a", story(tale))
		w.mustGet(old...)
		noise()
		young := w.custom(2, "a", story(tale))
		w.mustGet(young...)
		if _, err := call[contracts.StoredEvent](w, "get", contracts.EventRequest{ID: old[0].ID}); code(err) != contracts.CodeNotFound {
			t.Errorf("an event that has left: %v", err)
		}
		want := ids(young...)
		for _, filter := range []contracts.EventFilter{{Entity: "a"}, {Correlations: []string{tale}}} {
			if diff := cmp.Diff(want, w.query(contracts.QueryRequest{EventFilter: filter})); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", filter, diff)
			}
		}
		w.stop()
		env := w.env
		w.env.NC = w.server.Connect(w.t)
		w.env.JS = natstest.JetStream(w.t, w.env.NC)
		noise() // nothing that was indexed is left
		w.env = env
		w.start()
		if got := w.query(contracts.QueryRequest{EventFilter: contracts.EventFilter{Correlations: []string{tale}}}); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
		if got := w.value("smith_eventstore_index_rebuilds_total"); got != 1 {
			t.Errorf("started afresh %v times", got)
		}
		w.mustGet(w.custom(1, "a")...)
	})
}

// TestStoredTwice: the same event stored again, long after JetStream has
// forgotten its id, is still one event.
func TestStoredTwice(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{}, func(w *world) {
		e := w.custom(1, "a")[0]
		w.pass(3 * time.Minute)
		w.store(e)
		other := w.custom(1, "a")[0]
		w.mustGet(e, other)
		want := ids(e, other)
		if diff := cmp.Diff(want, w.query(contracts.QueryRequest{})); diff != "" {
			t.Errorf("query (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, w.query(contracts.QueryRequest{Last: true})); diff != "" {
			t.Errorf("last (-want +got):\n%s", diff)
		}
		if got := w.query(contracts.QueryRequest{EventFilter: contracts.EventFilter{Correlations: []string{e.ID}}}); len(got) != 1 {
			t.Errorf("story: %v", got)
		}
		if got := w.value("smith_eventstore_duplicates_total"); got != 1 {
			t.Errorf("duplicates: %v", got)
		}
	})
}

// TestServerRestart takes the NATS server down for a while: the service is
// back with it, and nothing is lost.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{IndexDir: t.TempDir()}, func(w *world) {
		before := w.custom(10, "a")
		w.mustGet(before...)
		w.server.Down()
		w.pass(time.Minute)
		w.server.Up(t)
		for w.env.NC.Status() != nats.CONNECTED {
			w.pass(10 * time.Millisecond)
		}
		after := w.custom(10, "a")
		w.mustGet(append(before, after...)...)
		if diff := cmp.Diff(ids(append(before, after...)...), w.query(contracts.QueryRequest{})); diff != "" {
			t.Error(diff)
		}
		if got := w.value("smith_eventstore_index_rebuilds_total"); got != 1 {
			t.Errorf("started afresh %v times, want once, at the start", got)
		}
	})
}

func run(t *testing.T, s *natstest.Server, cfg eventstore.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nc := s.Connect(t)
	env := shell.Env{
		Service: "eventstore", Instance: "es-1", Log: logger(), NC: nc, JS: natstest.JetStream(t, nc),
		Metrics: prometheus.NewRegistry(), Health: shell.NewHealth("eventstore"),
	}
	return eventstore.Run(ctx, env, cfg)
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  eventstore.Config
		says []string
	}{
		"everything wrong":         {eventstore.Config{Streams: contracts.StreamOptions{Replicas: 2, MaxAge: time.Second, MaxBytes: -2}, IndexWait: -1}, []string{"replicas: 2", "max_age: 1s", "max_bytes", "index wait"}},
		"a file as folder":         {eventstore.Config{IndexDir: file}, []string{file, "directory"}},
		"3 replicas on one server": {eventstore.Config{Streams: contracts.StreamOptions{Replicas: 3}}, []string{contracts.EventStream}},
	} {
		natstest.Bubble(t, func(t *testing.T) {
			err := run(t, natstest.Start(t), tt.cfg)
			for _, s := range tt.says {
				if err == nil || !strings.Contains(err.Error(), s) {
					t.Errorf("%s: error %v does not say %q", name, err, s)
				}
			}
		})
	}
}

// TestTwoOnOneIndex: a second service on the same directory says so.
func TestTwoOnOneIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inWorld(t, eventstore.Config{IndexDir: dir}, func(w *world) {
		err := run(w.t, w.server, eventstore.Config{IndexDir: dir})
		if err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("error: %v", err)
		}
	})
}

// TestStopWithoutServer: the service ends in time though the server is away.
func TestStopWithoutServer(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{IndexDir: t.TempDir()}, func(w *world) {
		w.mustGet(w.custom(1, "a")...)
		w.server.Down()
		w.pass(time.Minute)
		begin := time.Now()
		w.stop()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestStreamGone deletes the event stream: the service makes it anew.
func TestStreamGone(t *testing.T) {
	t.Parallel()
	inWorld(t, eventstore.Config{IndexDir: t.TempDir()}, func(w *world) {
		old := w.custom(3, "a")
		w.mustGet(old...)
		if err := w.env.JS.DeleteStream(w.t.Context(), contracts.EventStream); err != nil {
			t.Fatal(err)
		}
		if _, err := call[contracts.StoreStats](w, "stats", nil); code(err) != contracts.CodeNotReady {
			t.Errorf("without a stream: %v", err)
		}
		w.pass(10 * time.Second)
		fresh := w.custom(2, "a")
		w.mustGet(fresh...)
		if diff := cmp.Diff(ids(fresh...), w.query(contracts.QueryRequest{})); diff != "" {
			t.Error(diff)
		}
	})
}
