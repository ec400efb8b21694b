package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// killed runs a supervisor whose connection is cut after a while, as when its
// process is killed: from then on nothing it does has any effect.
func (w *world) killed(name string, after time.Duration) {
	w.t.Helper()
	nc := w.server.Connect(w.t, nats.NoReconnect())
	env := newEnv(w.t, nc, name, slog.New(slog.DiscardHandler), w.reg)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Run(ctx, env, FromFile(w.file)) // its end says only that it was cut off
	}()
	<-time.After(after)
	nc.Close()
	cancel()
	<-done
}

// TestKilledAnywhere kills the supervisor again and again in the middle of
// group restarts, at ever other points, and demands that its successor goes on:
// nothing twice (the runner fails the test when a second copy is asked for),
// nothing forgotten, decisions without a gap.
func TestKilledAnywhere(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.file.Tree.Root.Children[1].Node.Policy.MaxRestarts = 1000
		w.file.Tree.Root.Children[2].Node.Policy.MaxRestarts = 1000
		w.runner.slow["d"], w.runner.slow["g"] = 30*time.Millisecond, 50*time.Millisecond
		stop := w.supervise("first")
		w.settled()
		stop()
		const rounds = 12
		for i := range rounds {
			w.runner.exit("c", 1)
			w.runner.exit("f", 1)
			w.killed(fmt.Sprintf("cut-%d", i), time.Duration(i*i)*7*time.Millisecond)
			stop := w.supervise(fmt.Sprintf("whole-%d", i))
			w.want(fmt.Sprintf("round %d", i), statusOnly(w.settled()), statusOnly(threeGroupsUp))
			stop()
		}
		starts := map[string]int{}
		for _, line := range strings.Split(w.runner.takeLog(), ", ") {
			var agent string
			var inc uint64
			if _, err := fmt.Sscanf(line, "start %s %d", &agent, &inc); err == nil {
				starts[agent]++
			}
		}
		for agent, want := range map[string]int{"a": 1, "b": 1, "e": 1, "c": 1 + rounds, "d": 1 + rounds, "f": 1 + rounds, "g": 1 + rounds} {
			if starts[agent] != want {
				t.Errorf("%s was started %d times, want %d", agent, starts[agent], want)
			}
		}
		w.gapless()
	})
}

// statusOnly leaves incarnations out.
func statusOnly(s string) string {
	parts := strings.Split(s, ", ")
	for i, p := range parts {
		f := strings.Fields(p)
		parts[i] = strings.Join(f[:2], " ")
	}
	return strings.Join(parts, ", ")
}

func (w *world) gapless() {
	w.t.Helper()
	for i, d := range w.decisions() {
		if d.Number != uint64(i+1) {
			w.t.Fatalf("decision %d has number %d", i+1, d.Number)
		}
	}
}

// TestStandby runs two supervisors: the second stands by, takes over when the
// first is gone, and the first, when it comes back, stands by in turn.
func TestStandby(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stopFirst := w.supervise("s1")
		w.want("up", w.settled(), threeGroupsUp)
		w.supervise("s2")
		w.want("who decides", w.tree().Supervisor, "s1")
		stopFirst()
		w.runner.exit("a", 1)
		begin := time.Now()
		<-time.After(2 * time.Second)
		w.want("takeover", w.settled(), strings.Replace(threeGroupsUp, "a running 1", "a running 2", 1))
		w.want("who decides now", w.tree().Supervisor, "s2")
		t.Logf("taken over and settled within %s", time.Since(begin))
		w.gapless()
	})
}

// TestPausedSupervisorIsRefused lets a second supervisor decide behind the
// first one's back, as when that one was stopped and continued: its next
// decision is refused, it does nothing and stands by.
func TestPausedSupervisorIsRefused(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.supervise("s1")
		w.want("up", w.settled(), threeGroupsUp)
		// Somebody else's decision, appended past the first's.
		last := w.decisions()
		d := last[len(last)-1]
		ev, err := contracts.NewEvent("supervisor/rival", contracts.TreeDecided, "main", time.Now()).
			Data(contracts.DecisionsData{Tree: "main", Number: d.Number + 1, Supervisor: "rival", Cursor: d.Cursor}).Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shell.PublishEvent(t.Context(), w.js, ev); err != nil {
			t.Fatal(err)
		}
		w.runner.takeLog()
		w.runner.exit("a", 1)
		<-time.After(3 * time.Second)
		w.want("it stands by, finds nobody else and reads the log anew", w.settled(), strings.Replace(threeGroupsUp, "a running 1", "a running 2", 1))
		w.want("once", w.runner.takeLog(), "exit a 1, start a 2")
		w.gapless()
		if _, err := w.events().GetLastMsgForSubject(t.Context(), contracts.EventSubject(contracts.SystemHealthCheckFailed, "supervisor")); err != nil {
			t.Errorf("it did not report that it was superseded: %v", err)
		}
	})
}

// TestServerRestart stops NATS for a while in the middle of a group restart.
func TestServerRestart(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.supervise("s1")
		w.want("up", w.settled(), threeGroupsUp)
		w.runner.slow["d"] = time.Second
		w.runner.exit("c", 1)
		<-time.After(300 * time.Millisecond)
		w.server.Down()
		<-time.After(20 * time.Second)
		w.server.Up(t)
		begin := time.Now()
		<-time.After(3 * time.Second)
		w.want("after", w.settled(), strings.NewReplacer("c running 1", "c running 2", "d running 1", "d running 2").Replace(threeGroupsUp))
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("it took %s after NATS was back", took)
		}
		w.gapless()
	})
}

// TestDynamicChildrenAndConfiguration restarts the supervisor with another
// configuration: what is the same runs on undisturbed, what was added at run
// time stays, what is new starts, what is gone is stopped.
func TestDynamicChildrenAndConfiguration(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up()
		w.order("add", contracts.AddRequest{Parent: "all", Child: contracts.ChildSpec{Name: "h", Command: []string{"x"}}})
		stop()
		w.runner.takeLog()
		changed := newFile(t, strings.NewReplacer(
			"        - {name: b, command: [x], env: {SECRET: hush}}\n", "",
			"        - {name: c, command: [x]}\n", "        - {name: n, command: [x]}\n        - {name: c, command: [x]}\n").Replace(threeGroups))
		w.file = changed
		w.supervise("s2")
		w.want("merged", w.settled(), "root running, single running, a running 1, all running, n running 1, c running 1, d running 1, h running 1, rest running, e running 1, f running 1, g running 1")
		log := w.runner.takeLog()
		if log != "stop b 1, start n 1" && log != "start n 1, stop b 1" {
			t.Errorf("done: %s", log)
		}
		w.runner.exit("d", 1)
		w.settled()
		w.want("order", w.runner.takeLog(), "exit d 1, stop h 1, stop c 1, stop n 1, start n 2, start c 2, start d 2, start h 2")
	})
}

// TestSnapshot starts from a snapshot, and from the log when it is corrupt.
func TestSnapshot(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		kv, err := w.js.KeyValue(t.Context(), contracts.StateBucket)
		if err != nil {
			t.Fatal(err)
		}
		half := contracts.TreeStateKey("main") + ".0.7" // whoever stored it was killed
		if _, err := kv.PutString(t.Context(), half, "x"); err != nil {
			t.Fatal(err)
		}
		stop := w.up(func(c *Config) { c.SnapshotEvery = 3 })
		w.runner.exit("a", 1)
		up := w.settled()
		if _, err := kv.Get(t.Context(), half); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("half a snapshot is still there: %v", err)
		}
		stop()
		stop = w.supervise("s2")
		w.want("from the snapshot", w.settled(), up)
		stop()
		for _, bad := range []string{"{", `{"number":3,"parts":7}`, `{"number":3,"data":"AAAA"}`, ""} {
			if _, err := kv.PutString(t.Context(), contracts.TreeStateKey("main"), bad); err != nil {
				t.Fatal(err)
			}
			stop = w.supervise("s3")
			w.want(fmt.Sprintf("snapshot %q", bad), w.settled(), up)
			stop()
		}
		w.gapless()
	})
}

func TestDrainOnStop(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up(func(c *Config) { c.DrainOnStop = true })
		stop()
		w.wantSideBySide("drained", w.runner.takeLog(), "stop a 1", "stop b 1", "stop d 1, stop c 1", "stop g 1, stop f 1, stop e 1")
		stop = w.supervise("s2", func(c *Config) { c.KeepDown = true })
		w.want("kept down", string(w.tree().Root.Status), "stopped")
		stop()
		w.supervise("s3")
		w.want("up again", w.settled(), strings.ReplaceAll(threeGroupsUp, " 1", " 2"))
	})
}

// TestAGroupStopsInOrderHoweverLongThatTakes: when the service ends, each agent has its
// own time, not that for work in flight. What keeps an agent from ending at all does not
// keep the service.
func TestAGroupStopsInOrderHoweverLongThatTakes(t *testing.T) {
	t.Parallel()
	const file = `
supervision_tree:
  shutdown: {drain_timeout: 4s}
  tree:
    - name: stack
      strategy: rest_for_one
      children:
        - {name: db, command: [x], shutdown_timeout: 10s}
        - {name: app, command: [x], shutdown_timeout: 1m}
`
	for app, c := range map[time.Duration]struct {
		took time.Duration
		done string
	}{
		34 * time.Second: {34 * time.Second, "stop app 1, stop db 1"},
		2 * time.Minute:  {time.Minute, "kill app 1, stop db 1"},
	} {
		t.Run(app.String(), func(t *testing.T) {
			inWorld(t, file, func(t *testing.T, w *world) {
				stop := w.up(func(c *Config) { c.DrainOnStop = true })
				w.runner.slow["app"] = app
				begin := time.Now()
				stop()
				if took := time.Since(begin); took < c.took || took > c.took+10*time.Second {
					t.Errorf("it took %s, and app needs %s", took, c.took)
				}
				w.want("done", w.runner.takeLog(), c.done)
				w.supervise("s2")
				w.want("up again", w.settled(), "root running, stack running, db running 2, app running 2")
			})
		})
	}
}

// TestWhatNobodyCanEndIsNotWaitedFor: a service that ends stops what it can, and leaves
// what runs on a runner that is gone to its return.
func TestWhatNobodyCanEndIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const file = `
supervision_tree:
  tree:
    - {name: a, command: [x], runner: r1}
    - {name: b, command: [x], runner: r2, shutdown_timeout: 10s}
`
	for name, slow := range map[string]time.Duration{"all else ends at once": 0, "all else takes its time": 9 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, file, func(t *testing.T, w *world) {
				r2 := newRunner(t, w.server, "r2")
				stop := w.up(func(c *Config) { c.DrainOnStop = true })
				r2.slow["b"] = slow
				w.runner.set(func() { w.runner.away, w.runner.cutOff = true, true })
				begin := time.Now()
				stop()
				if took := time.Since(begin); took < slow || took > max(slow, 5*time.Second)+3*time.Second {
					t.Errorf("it took %s", took)
				}
				w.want("done", r2.takeLog(), "start b 1, stop b 1")
				w.runner.set(func() { w.runner.away, w.runner.cutOff = false, false })
				w.supervise("s2")
				if got := w.settled(); !strings.HasPrefix(got, "root running, a running ") || !strings.HasSuffix(got, ", b running 2") {
					t.Errorf("back: %s", got)
				}
			})
		})
	}
}

// TestSuspensionLasts over a change of supervisors: what ends meanwhile stays down,
// and is dealt with after it.
func TestSuspensionLasts(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up()
		w.supervise("s2") // stands by
		w.order("suspend", contracts.NodeRequest{Node: "all"})
		w.runner.takeLog()
		w.runner.exit("c", 1)
		<-time.After(time.Second)
		stop()
		<-time.After(time.Minute)
		w.want("who decides", w.tree().Supervisor, "s2")
		w.want("suspended", w.settled(), "root running, single running, a running 1, b running 1, all suspended, c failed 1, d running 1, rest running, e running 1, f running 1, g running 1")
		w.want("done meanwhile", w.runner.takeLog(), "exit c 1")
		w.order("resume", contracts.NodeRequest{Node: "all"})
		w.want("resumed", w.settled(), strings.NewReplacer("c running 1", "c running 2", "d running 1", "d running 2").Replace(threeGroupsUp))
		w.want("done", w.runner.takeLog(), "stop d 1, start c 2, start d 2")
	})
}

// TestDrainedTreeStaysDown when another supervisor takes over, and when one starts:
// only an operator brings it back.
func TestDrainedTreeStaysDown(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up()
		stop2 := w.supervise("s2") // stands by
		w.order("drain", contracts.NodeRequest{Reason: "maintenance"})
		w.want("drained", string(w.tree().Root.Status), "stopped")
		w.runner.takeLog()
		stop()
		<-time.After(10 * time.Second)
		w.want("who decides", w.tree().Supervisor, "s2")
		w.want("still down", string(w.tree().Root.Status), "stopped")
		w.want("done", w.runner.takeLog(), "")
		stop2()
		stop = w.supervise("s3", func(c *Config) { c.DrainOnStop = true })
		<-time.After(10 * time.Second)
		w.want("still down with another process", string(w.tree().Root.Status), "stopped")
		stop()
		w.supervise("s4")
		<-time.After(10 * time.Second)
		w.want("still down after an orderly stop", string(w.tree().Root.Status), "stopped")
		w.want("done", w.runner.takeLog(), "")
		w.order("restart", contracts.NodeRequest{Node: "root"})
		w.want("up", statusOnly(w.settled()), statusOnly(threeGroupsUp))
	})
}

// TestTwoTreesInOneAccount: the second is told, and disturbs nothing.
func TestTwoTreesInOneAccount(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		other := newFile(t, strings.Replace(threeGroups, "supervision_tree:", "supervision_tree:\n  name: other", 1))
		env := newEnv(t, w.server.Connect(t), "s2", testLog(t), w.reg)
		err := Run(t.Context(), env, FromFile(other))
		if err == nil || !strings.Contains(err.Error(), "supervisor s1 decides about tree main") {
			t.Errorf("it ends with %v", err)
		}
		w.want("the first", w.settled(), threeGroupsUp)
	})
}

// TestSnapshotAtATakeover: where the log keeps little, a supervisor stores a snapshot of
// what it has read as soon as it decides. Several that follow one another within a second
// would else store none for as long as that lasts, while the log forgets.
func TestSnapshotAtATakeover(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up()
		up := w.settled()
		stop()
		kv, err := w.js.KeyValue(t.Context(), contracts.StateBucket)
		if err == nil {
			err = kv.Purge(t.Context(), contracts.TreeStateKey("main"))
		}
		if err != nil {
			t.Fatal(err)
		}
		cfg := w.events().CachedInfo().Config
		cfg.MaxMsgs = 1000
		if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		w.killed("s2", 300*time.Millisecond)
		if _, err := kv.Get(t.Context(), contracts.TreeStateKey("main")); err != nil {
			t.Errorf("no snapshot 300 ms after the takeover: %v", err)
		}
		w.supervise("s3")
		w.want("after that", w.settled(), up)
	})
}
