package supervisor

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestRemovedOutlastsTheService: a file that is in force adds nothing when a process
// starts with it again, so what an operator removed stays away until the file is
// applied or edited.
func TestRemovedOutlastsTheService(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet("x", "one"))
		path := filepath.Join(t.TempDir(), "own.yaml")
		w.file = fileOf(t, path, fleet("x", "one"))
		stop := w.supervise("s1", func(c *Config) { c.DrainOnStop = true })
		w.settled()
		for _, id := range []string{"same", "group"} {
			w.order("remove", contracts.NodeRequest{Node: id})
		}
		w.want("removed", w.settled(), "root running, a running 1, b running 1")
		stop()
		stop = w.supervise("s2")
		w.want("after an orderly stop", w.settled(), "root running, a running 2, b running 2")
		stop()
		w.killed("s3", 300*time.Millisecond)
		stop = w.supervise("s4")
		w.want("after a kill", w.settled(), "root running, a running 2, b running 2")
		w.apply(fleet("x", "one"))
		if got := w.settled(); !strings.Contains(got, "same running") || !strings.Contains(got, "e running") {
			t.Errorf("applied again: %s", got)
		}
		stop()
	})
}

// TestTerminatedOutlastsTheService: what an operator terminated is started neither
// with its group nor by any end and start of the service, until an operator does.
func TestTerminatedOutlastsTheService(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, threeGroups)
		drains := func(c *Config) { c.DrainOnStop = true }
		stop := w.supervise("s1", drains)
		w.settled()
		w.order("terminate", contracts.NodeRequest{Node: "a"})
		w.order("terminate", contracts.NodeRequest{Node: "c"})
		down := func(what string) {
			t.Helper()
			for _, line := range strings.Split(w.runner.takeLog(), ", ") {
				if strings.HasPrefix(line, "start a ") || strings.HasPrefix(line, "start c ") {
					t.Errorf("%s: %s", what, line)
				}
			}
			for _, parent := range w.tree().Root.Children {
				for _, n := range parent.Children {
					if held := n.Name == "a" || n.Name == "c"; n.KeptDown != held || held && n.Reason != "terminated" || (n.Status == contracts.NodeRunning) == held {
						t.Errorf("%s: %s is %s (%s), kept down: %t", what, n.Name, n.Status, n.Reason, n.KeptDown)
					}
				}
			}
		}
		w.runner.takeLog()
		w.runner.exit("d", 1)
		<-time.After(5 * time.Second)
		w.settled()
		down("its group restarted")
		stop()
		stop = w.supervise("s2", drains)
		w.settled()
		down("the service was stopped with its agents and started")
		stop()
		w.killed("s3", 300*time.Millisecond)
		stop = w.supervise("s4")
		w.settled()
		down("the service was killed")
		stop()
		w.supervise("s5")
		w.settled()
		down("the service was stopped without its agents")
		w.order("restart", contracts.NodeRequest{Node: "all"})
		w.order("restart", contracts.NodeRequest{Node: "a"})
		if got := w.settled(); strings.Contains(got, "stopped") {
			t.Error(got)
		}
	})
}

// TestOrdersOutlastTheLog: who ordered what stands, when and why is told by whatever
// supervisor decides, after the log has forgotten it.
func TestOrdersOutlastTheLog(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t, threeGroups)
		stop := w.supervise("s1")
		w.settled()
		by := &contracts.Operator{User: "ada", Host: "ops1", Program: "smith"}
		options := contracts.OrderOptions{By: by}
		want := map[string]string{"a": "terminate", "all": "suspend", "b": "mode off", "e": "move to single"}
		w.order("terminate", contracts.NodeRequest{Node: "a", Reason: "ticket 1", OrderOptions: options})
		w.order("suspend", contracts.NodeRequest{Node: "all", Reason: "ticket 1", OrderOptions: options})
		w.order("mode", contracts.ModeRequest{Node: "b", Mode: "off", Reason: "ticket 1", OrderOptions: options})
		w.order("move", contracts.MoveRequest{Node: "e", Parent: "single", Reason: "ticket 1", OrderOptions: options})
		ordered := time.Now()
		told := func() {
			t.Helper()
			for node, order := range want {
				d := must[contracts.Diagnosis](w, "why", contracts.NodeRequest{Node: node})
				if len(d.Orders) != 1 || len(d.Node.Orders) != 1 {
					t.Errorf("%s: %+v, of the node %+v", node, d.Orders, d.Node.Orders)
					continue
				}
				o := d.Orders[0]
				if o.Node != node || o.Order != order || o.Reason != "ticket 1" || *o.By != *by || ordered.Sub(*o.At) > time.Minute || o.Decision == "" || !strings.Contains(d.Reason, o.String()) {
					t.Errorf("%s: %s; %+v", node, d.Reason, o)
				}
			}
		}
		told()
		stop()                    // stores a snapshot
		natstest.Streams(t, w.js) // its clock is the real one: everything expires
		w.supervise("s2")
		w.settled()
		told()
		w.order("restart", contracts.NodeRequest{Node: "a"})
		w.order("resume", contracts.NodeRequest{Node: "all"})
		w.order("mode", contracts.ModeRequest{Node: "b", Mode: "inherit"})
		for _, node := range []string{"a", "all", "b"} {
			if d := must[contracts.Diagnosis](w, "why", contracts.NodeRequest{Node: node}); len(d.Orders) > 0 {
				t.Errorf("%s: %+v", node, d.Orders)
			}
		}
	})
}
