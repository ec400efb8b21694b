package service

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

// The router's key names a snapshot that can be there, and one of the two slots
// for the next, or it names nothing.
func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"owner":"router-1","epoch":3,"beat":9,"cursor":4711,"slot":1,"parts":2,"sum":"00","open":7}`))
	f.Add([]byte(`{"slot":2,"parts":-1}`))
	f.Add([]byte(`{"owner":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := decodeHead(value)
		if err != nil {
			if h != (head{}) {
				t.Fatalf("%v, and yet %+v", err, h)
			}
			return
		}
		if next := 1 - h.Slot; next != 0 && next != 1 || h.Parts < 0 {
			t.Fatalf("%+v", h)
		}
		again, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := decodeHead(again); err != nil || read != h {
			t.Fatalf("%+v became %+v, %v", h, read, err)
		}
	})
}

// Whatever a snapshot says, a scheduler can be made from it and goes on; what
// that one keeps is the same once more.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"counts":{},"agents":[{"id":"a","type":"coder","capacity":2,"incarnation":1,"state":"up"}],
		"tasks":[{"id":"t","type":"code","sequence":3,"attempt":1,"agent":"a","incarnation":1,"logged":5,"accepted":true,"since":"2026-01-02T15:04:05Z"},
		{"id":"u","type":"code","sequence":4,"doomed":true,"failures":3}],"done":[{"id":"d","pinned":true}],"queued":[{"id":"q","type":"code","sequence":9}]}`))
	f.Add([]byte(`{"agents":[{"state":"?","capacity":-1,"mean_log":1e308,"samples":-1},{}],"tasks":[{"agent":"nobody","logged":1},{},{}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = unpack(body) // no gzip
		snap, err := unpack(zip(t, body))
		if err != nil {
			return
		}
		now := time.Unix(2e9, 0)
		s := scheduler.Restore(scheduler.Config{}, snap, now)
		kept := s.Snapshot()
		packed, err := pack(kept)
		if err != nil {
			t.Fatal(err)
		}
		read, err := unpack(packed.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		again := scheduler.Restore(scheduler.Config{}, read, now).Snapshot()
		if diff := cmp.Diff(ids(kept), ids(again)); diff != "" {
			t.Fatal(diff)
		}
		for range 5 {
			now = now.Add(time.Hour)
			s.Step(now, scheduler.Tick{})
		}
	})
}

// ids are the tasks and agents of a snapshot.
func ids(snap scheduler.Snapshot) map[string]int {
	got := map[string]int{}
	for _, x := range snap.Tasks {
		got["task "+x.ID]++
	}
	for _, x := range snap.Agents {
		got["agent "+x.ID]++
	}
	return got
}

func zip(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
