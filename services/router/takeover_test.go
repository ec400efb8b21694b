package router_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
)

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "killed", "hung"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				a := w.agent("a", "coder", 2, 2*time.Second)
				first := w.route("r1", router.Config{})
				w.route("r2", router.Config{})
				w.submitMany(20, "code")
				pass(3 * time.Second)
				switch how {
				case "stopped":
					w.stop(first)
				case "killed":
					w.kill(first)
				case "hung":
					// The server keeps the subscriptions and nothing is heard.
					first.nc.SetClosedHandler(nil)
					w.hang(first)
				}
				w.until("all completed", 2*time.Minute, func() bool {
					v, err := call[contracts.RouterView](w, "agents", nil)
					return err == nil && v.Completed == 20
				})
				w.until("the queue is empty", time.Minute, func() bool { return w.waiting() == 0 })
				if _, most, runs := a.load(); len(runs) != 20 || most > 2 {
					t.Fatalf("%d runs, %d at once: %v", len(runs), most, runs)
				}
			})
		})
	}
}

// hang takes the lease away as if the router had been paused for too long.
func (w *world) hang(*instance) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	kv, err := w.js.KeyValue(ctx, contracts.StateBucket)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := kv.Get(ctx, contracts.RouterStateKey)
	if err != nil {
		w.t.Fatal(err)
	}
	var head map[string]any
	if err := json.Unmarshal(e.Value(), &head); err != nil {
		w.t.Fatal(err)
	}
	head["owner"] = "r2"
	body, _ := json.Marshal(head)
	if _, err := kv.Update(ctx, contracts.RouterStateKey, body, e.Revision()); err != nil {
		w.t.Fatal(err)
	}
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		agents := w.coders(3, 2, 2*time.Second)
		w.submitMany(40, "code")
		pass(3 * time.Second)
		w.srv.Down()
		pass(5 * time.Second)
		w.srv.Up(t)
		w.until("connected", time.Minute, func() bool { return w.nc.Status() == nats.CONNECTED })
		w.until("all completed", 5*time.Minute, func() bool {
			v, err := call[contracts.RouterView](w, "agents", nil)
			return err == nil && v.Completed == 40
		})
		w.until("the queue is empty", time.Minute, func() bool { return w.waiting() == 0 })
		total := 0
		for _, a := range agents {
			_, most, runs := a.load()
			total += len(runs)
			if most > 2 {
				t.Errorf("%s worked on %d at once", a.id, most)
			}
		}
		if total < 40 {
			t.Errorf("%d runs", total)
		}
		for task, n := range w.completions() {
			if n != 1 {
				t.Errorf("%s was completed %d times", task, n)
			}
		}
	})
}

func TestUnusableSnapshotIsRebuiltFromTheLog(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		a := w.agent("a", "coder", 1, 2*time.Second)
		r := w.route("r1", router.Config{})
		w.submitMany(5, "code")
		pass(5 * time.Second)
		w.stop(r)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		kv, err := w.js.KeyValue(ctx, contracts.StateBucket)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kv.ListKeysFiltered(ctx, "router.>")
		if err != nil {
			t.Fatal(err)
		}
		parts := 0
		for key := range keys.Keys() {
			parts++
			if _, err := kv.Put(ctx, key, []byte("spoilt")); err != nil {
				t.Fatal(err)
			}
		}
		if parts == 0 {
			t.Fatal("there was no snapshot")
		}
		w.route("r2", router.Config{})
		w.until("all completed", time.Minute, func() bool { return w.view().Completed == 5 })
		if _, _, runs := a.load(); len(runs) != 5 {
			t.Fatalf("ran %v", runs)
		}
	})
}
