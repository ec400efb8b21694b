package supervisor

import (
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestWhy: the supervisor explains its nodes, offers names like one that there
// is not, and records who ordered what as the cause of what comes of it.
func TestWhy(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.up()
		why := func(node string) (contracts.Diagnosis, error) {
			return ask[contracts.Diagnosis](w, "why", contracts.NodeRequest{Node: node})
		}
		d, err := why("a")
		if err != nil || d.State != contracts.StateRunning || d.Node.Name != "a" || d.Tree != "main" || d.Supervisor == "" || d.Cause == "" {
			t.Errorf("%+v, %v", d, err)
		}
		for node, want := range map[string]string{"aa": "the nearest names are a", "no such": "node", "": "node"} {
			_, err := why(node)
			w.wantRefused("why "+node, err, "", want)
		}
		by := &contracts.Operator{User: "ada", Host: strings.Repeat("x", 200)}
		req := contracts.NodeRequest{Node: "a", Reason: "too hot", OrderOptions: contracts.OrderOptions{By: by}}
		w.order("terminate", req)
		if d, err = why("a"); err != nil || d.State != contracts.StateTerminated {
			t.Fatalf("%+v, %v", d, err)
		}
		var ordered contracts.DecisionInput
		for _, made := range w.decisions() {
			for _, in := range made.Inputs {
				if in.Kind == "command" {
					ordered = in
				}
			}
		}
		if ordered.By == nil || ordered.By.User != "ada" || len(ordered.By.Host) > 64 || !strings.Contains(ordered.Detail, "too hot") {
			t.Errorf("the cause is %+v", ordered)
		}
	})
}
