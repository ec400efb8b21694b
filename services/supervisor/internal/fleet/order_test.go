package fleet

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// TestOrder: the two parts of an order make the whole command.
func TestOrder(t *testing.T) {
	second := contracts.Duration(time.Second)
	spec := contracts.StartCommand{
		Command: []string{"./a", `"<&>" ünd`}, Dir: "/d", Type: "t", Capabilities: []string{"c"}, Capacity: 3,
		HeartbeatInterval: second, StartDeadline: 2 * second, ShutdownTimeout: 3 * second, Heartbeats: "runner",
	}
	for name, env := range map[string]map[string]string{"its own": {"A": "1"}, "none": nil} {
		spec.Env = env
		start, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		file := config.Default()
		file.Tree.Name = "main"
		c := &Commander{file: file, orders: map[string]specified{}}
		for incarnation := uint64(7); incarnation < 9; incarnation++ { // the second time from what is kept
			o, err := c.order(&Command{Order: leader.Order{
				Effect: tree.Effect{Node: "tmpl-1", Incarnation: incarnation, Chain: "story"}, Decision: "cause",
				Spec: &tree.Spec{Template: "tmpl", Agent: &tree.Agent{Start: start}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			o.BootID, o.Term = "boot", 42
			raw, err := o.encode()
			if err != nil {
				t.Fatal(err)
			}
			want := spec
			want.Agent, want.Incarnation, want.BootID, want.Term, want.CausationID, want.CorrelationID = "tmpl-1", incarnation, "boot", 42, "cause", "story"
			want.Tree = "main"
			var got contracts.StartCommand
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	if _, err := specify(json.RawMessage(`{"command":"x"}`)); err == nil {
		t.Error("a specification that is none was accepted")
	}
}
