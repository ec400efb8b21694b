package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// rollBack makes the log what it was up to a sequence, with no snapshot, as a
// backup or a server that lost power has it. Runners live on.
func (w *world) rollBack(keep uint64) {
	w.t.Helper()
	natstest.Truncate(w.t, w.js, keep)
	// The bucket alone: an update of the stream would expire every message, since
	// ages are not in virtual time.
	if err := w.js.DeleteKeyValue(w.t.Context(), contracts.StateBucket); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.CreateKeyValue(w.t.Context(), contracts.StateBucketConfig(contracts.StreamOptions{})); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lastSequence() uint64 { return w.events().CachedInfo().State.LastSeq }

const anywhereAndThere = `
supervision_tree:
  root_restart_policy: {max_restarts: 1, time_window: 1m}
  tree:
    - {name: any, command: [x], heartbeats: agent}
    - {name: there, command: [x], runner: r1}
    - {name: calm, command: [x], runner: r1}
`

// TestTheLogIsOlderThanTheRunner: what runs is adopted and left alone, and what
// is decided from then on counts for the runner, which was told more.
func TestTheLogIsOlderThanTheRunner(t *testing.T) {
	for name, empty := range map[string]bool{"it lost its tail": false, "it is empty": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, anywhereAndThere, func(t *testing.T, w *world) {
				stop := w.supervise("s1")
				w.want("up", w.settled(), "root running, any running 1, there running 1, calm running 1")
				keep := w.lastSequence()
				for range 3 {
					w.runner.exit("any", 1)
					<-time.After(2 * time.Minute) // beyond the window of the limit
				}
				w.runner.exit("there", 1)
				w.want("before", w.settled(), "root running, any running 4, there running 2, calm running 1")
				stop()
				told := w.runner.fence
				if empty {
					keep = 0
				}
				w.rollBack(keep)
				w.runner.takeLog()

				stop = w.supervise("s2")
				<-time.After(3 * time.Second) // the runner is heard and visited
				w.want("after", w.settled(), "root running, any running 4, there running 2, calm running 1")
				w.want("done by the runner", w.runner.takeLog(), "")
				// Twice at once is more than the limit, had anything been charged.
				w.runner.exit("any", 1)
				w.want("a failure", w.settled(), "root running, any running 5, there running 2, calm running 1")
				if w.runner.fence <= told {
					t.Errorf("the runner was told of term %d, and of %d before", w.runner.fence, told)
				}
				stop()
				w.supervise("s3")
				w.want("a successor", w.settled(), "root running, any running 5, there running 2, calm running 1")
			})
		})
	}
}

// TestTheRunnerLostItsRecords: what it no longer has starts again, and nothing
// counts against a limit.
func TestTheRunnerLostItsRecords(t *testing.T) {
	inWorld(t, anywhereAndThere, func(t *testing.T, w *world) {
		stop := w.supervise("s1")
		w.want("up", w.settled(), "root running, any running 1, there running 1, calm running 1")
		stop()
		w.runner.set(func() {
			clear(w.runner.live)
			clear(w.runner.seen)
			w.runner.fence = 0
		})
		w.supervise("s2")
		<-time.After(3 * time.Second)
		w.want("after", w.settled(), "root running, any running 2, there running 2, calm running 2")
		// Only of what may run anywhere could another runner have had it.
		w.want("lost", w.hostLost(), "calm, there, any")
	})
}

// TestOrphans: an agent of another tree is shown and ended by an order; one of
// this tree that is not in it is ended; one that the tree has is taken over.
func TestOrphans(t *testing.T) {
	inWorld(t, anywhereAndThere, func(t *testing.T, w *world) {
		w.runner.set(func() {
			for agent, tree := range map[string]string{"stray": "former", "there": "former", "nameless": "", "removed": w.file.Tree.Name} {
				w.runner.live[agent], w.runner.seen[agent], w.runner.trees[agent] = 7, 7, tree
			}
			w.runner.odd = []string{`{"agent":"a.b","incarnation":1,"state":"running"}`, `17`}
		})
		w.supervise("s1")
		w.want("tree", w.settled(), "root running, any running 1, there running 7, calm running 1")
		if log := w.runner.takeLog(); !strings.Contains(log, "kill removed 7") || strings.Contains(log, "there") || strings.Contains(log, "stray") {
			t.Errorf("done by the runner: %s", log)
		}
		orphans := func() string {
			var all []string
			for _, o := range w.tree().Orphans {
				all = append(all, o.Agent+" of "+o.Tree+" on "+o.Runner)
			}
			return strings.Join(all, ", ")
		}
		w.want("orphans", orphans(), "nameless of  on r1, stray of former on r1")
		w.order("terminate", contracts.NodeRequest{Node: "stray"})
		w.want("after the order", orphans(), "nameless of  on r1")
		w.want("done by the runner", w.runner.takeLog(), "stop stray 7")
		w.runner.set(func() { delete(w.runner.live, "nameless") })
		<-time.After(15 * time.Second)
		w.want("after it ended by itself", orphans(), "")
		if _, err := ask[contracts.OrderReply](w, "terminate", contracts.NodeRequest{Node: "stray"}); err == nil {
			t.Error("an orphan that is gone can be ended again")
		}
	})
}

// TestRunnerWithoutResources: agents that may run anywhere go to another runner,
// the others wait until there is something to start them with; nothing counts
// against a limit.
func TestRunnerWithoutResources(t *testing.T) {
	inWorld(t, anywhereAndThere, func(t *testing.T, w *world) {
		w.runner.starved = true
		w.supervise("s1")
		<-time.After(10 * time.Second)
		if got := statuses(w.tree().Root)[0]; got != "root running" && got != "root starting" {
			t.Errorf("after 10 s without resources: %s", got)
		}
		asked := strings.Count(w.runner.takeLog(), "starved")
		if asked < 3 || asked > 30 {
			t.Errorf("the runner was asked %d times in 10 s", asked)
		}
		for _, r := range w.tree().Runners {
			if r.Runner == "r1" && !r.NoResources {
				t.Errorf("shown as %+v", r)
			}
		}
		second := newRunner(t, w.server, "r2")
		<-time.After(5 * time.Second)
		if second.incarnation("any") == 0 || second.incarnation("there") != 0 {
			t.Errorf("on the other runner: %s", second.takeLog())
		}
		w.runner.set(func() { w.runner.starved = false })
		<-time.After(40 * time.Second)
		if got := statusOnly(w.settled()); got != "root running, any running, there running, calm running" {
			t.Errorf("with resources: %s", got)
		}
		for _, d := range w.decisions() {
			for _, e := range d.Effects {
				if e.Kind == "restart" || e.Kind == "isolate" {
					t.Errorf("charged: %s of %s: %s", e.Kind, e.Node, e.Detail)
				}
			}
		}
	})
}
