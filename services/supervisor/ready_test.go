package supervisor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// take makes the log take no messages larger than some bytes; -1 ends that.
func (w *world) take(most int32) {
	w.t.Helper()
	cfg := w.events().CachedInfo().Config
	cfg.MaxMsgSize, cfg.MaxAge = most, 0 // ages are not in virtual time
	if _, err := w.js.UpdateStream(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
}

// cannotOrder orders a restart of a, which cannot be stored.
func (w *world) cannotOrder() {
	w.t.Helper()
	order := contracts.NodeRequest{Node: "a", OrderOptions: contracts.OrderOptions{Wait: contracts.Duration(time.Second)}}
	_, err := ask[contracts.OrderReply](w, "restart", order)
	w.wantRefused("restart", err, contracts.CodeNotReady, "")
}

// becomes waits until the supervisor is ready, or not, and returns how long that
// took.
func (w *world) becomes(want bool, within time.Duration) time.Duration {
	w.t.Helper()
	begin, limit := time.Now(), time.After(within)
	for {
		ready, changed := w.health.IsReady("supervisor")
		if ready == want {
			return time.Since(begin)
		}
		select {
		case <-changed:
		case <-limit:
			w.t.Fatalf("after %s it is ready: %v", within, ready)
		}
	}
}

// TestReadiness: a supervisor that cannot store its decisions says within seconds
// that it is not ready, and is again when it can.
func TestReadiness(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		w.take(1)
		<-time.After(10 * time.Second)
		if ready, _ := w.health.IsReady("supervisor"); !ready {
			t.Fatal("not ready though there is nothing to store")
		}
		w.cannotOrder()
		if took := w.becomes(false, 4*time.Second); took == 0 {
			t.Errorf("not ready after %s already", took)
		}
		<-time.After(3 * time.Minute) // it waits as long as it takes
		w.take(-1)
		w.becomes(true, 10*time.Second)
		w.want("after that", w.settled(), strings.Replace(threeGroupsUp, "a running 1", "a running 2", 1))
	})
}

// TestImpeded: while decisions cannot be stored, an order is refused at once with what is
// in the way, and the tree is what was stored.
func TestImpeded(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		stored := w.tree()
		w.take(1)
		w.cannotOrder()
		w.becomes(false, 4*time.Second)
		begin := time.Now()
		for verb, req := range map[string]any{
			"restart": contracts.NodeRequest{Node: "a"}, "terminate": contracts.NodeRequest{Node: "a"}, "status": contracts.NodeRequest{Node: "a"},
			"scale": contracts.ScaleRequest{Template: "a", Count: 3}, "plan": contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: threeGroups}}, "runners": struct{}{},
		} {
			_, err := ask[contracts.OK](w, verb, req)
			for _, part := range []string{"cannot store decisions since", "disk of the NATS server", "message size exceeds"} {
				w.wantRefused(verb, err, contracts.CodeNotReady, part)
			}
		}
		tree := w.tree()
		if tree.Decision != stored.Decision || tree.At == nil || !strings.Contains(tree.Trouble, "message size exceeds") || len(tree.Root.Children) != len(stored.Root.Children) {
			t.Errorf("the tree is %+v, and was %+v", tree, stored)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("all of it took %s", took)
		}
		w.take(-1)
		w.becomes(true, 10*time.Second)
		w.settled()
		if tree := w.tree(); tree.Trouble != "" || tree.At != nil {
			t.Errorf("the tree is %+v", tree)
		}
	})
}

// TestStuck: one that should end when it is stuck does so, with an error.
func TestStuck(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up(func(c *Config) { c.EndWhenStuck = true })
		w.take(1)
		begin := time.Now()
		w.cannotOrder()
		if err := <-w.ended; !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "could not store decisions of tree main") {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(begin); took < time.Minute || took > 70*time.Second {
			t.Errorf("it ended after %s", took)
		}
	})
}

// TestOrderWithoutLog: who orders something that cannot be stored is not told
// that it will be done, and nothing remembers it.
func TestOrderWithoutLog(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.supervise("s1")
		before := w.settled()
		w.take(1)
		_, err := ask[contracts.OK](w, "restart", contracts.NodeRequest{Node: "a"})
		w.wantRefused("restart", err, contracts.CodeNotReady, "look at the tree")
		stop()
		w.take(-1)
		w.runner.takeLog()
		w.supervise("s2")
		w.want("after that", w.settled(), before)
		w.want("done", w.runner.takeLog(), "")
	})
}
