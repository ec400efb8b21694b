package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestLookingBackAndRehearsing asks the operator's tool for the past of a tree
// that has seen an agent and its supervisor killed with -9, and what would have
// become of it under another configuration.
func TestLookingBackAndRehearsing(t *testing.T) {
	t.Parallel()
	s := deploy(t, groupConfig)
	smith := func(wantCode int, args ...string) string {
		t.Helper()
		out, errOut, code := run(t, nil, bin("smith"), append(args, "--server", s.url)...)
		if code != wantCode {
			t.Fatalf("smith %s: exit code %d, want %d\n%s\n%s", strings.Join(args, " "), code, wantCode, out, errOut)
		}
		return out + errOut
	}
	ask := func(v any, args ...string) {
		t.Helper()
		if err := json.Unmarshal([]byte(smith(0, append(args, "--json")...)), v); err != nil {
			t.Fatal(err)
		}
	}
	s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	var before contracts.TreeReply
	ask(&before, "tree")
	then := time.Now().Format(time.RFC3339Nano)

	s.kill("a")
	s.waitRunning(map[string]uint64{"a": 2, "b": 2, "c": 2, "d": 1})
	s.services["supervisor"].Kill()
	s.services["supervisor"].Start()
	s.waitReady("supervisor")
	s.kill("d")
	s.waitRunning(map[string]uint64{"a": 2, "b": 2, "c": 2, "d": 2})

	for _, when := range []string{then, fmt.Sprint(before.Sequence)} {
		var past contracts.TreeReply
		ask(&past, "tree", "--at", when)
		if past.Sequence != before.Sequence || past.At == nil || !sameTree(past.Root, before.Root) {
			t.Errorf("tree --at %s: %+v\nwant %+v", when, past, before)
		}
	}
	var diff contracts.DiffReply
	ask(&diff, "tree", "--diff", then, "now")
	var changed []string
	for _, n := range diff.Nodes {
		changed = append(changed, n.Node+" "+string(n.Change))
	}
	if want := []string{"a changed", "b changed", "c changed", "d changed"}; !slices.Equal(changed, want) {
		t.Errorf("tree --diff: %v, want %v", changed, want)
	}
	if out := smith(0, "tree", "d", "--diff", then, "now"); !strings.Contains(out, "1 nodes differ") || !strings.Contains(out, "incarnation") {
		t.Errorf("tree --diff of one node:\n%s", out)
	}
	smith(1, "tree", "--at", "100h")
	smith(2, "tree", "--at", "yesterday")

	same := s.dir + "/supervision-config.yaml"
	var r contracts.RehearseReply
	ask(&r, "rehearse", "--config", same)
	if !r.Faithful || r.First != nil || r.Recorded != r.Rehearsed || r.Recorded.Restarts != 2 || r.Recorded.Starts != 8 {
		t.Errorf("the same configuration: %+v, first %+v", r, r.First)
	}
	ask(&r, "rehearse", "--config", same, "--from", then)
	if !r.Faithful || r.First != nil || r.Recorded != r.Rehearsed || r.Recorded.Starts != 4 {
		t.Errorf("the same configuration from %s: %+v, first %+v", then, r, r.First)
	}
	other := s.write("other.yaml", strings.NewReplacer("WORKER", bin("worker"), "RECORDS", s.records(), "one_for_all", "one_for_one").Replace(groupConfig))
	ask(&r, "rehearse", "--config", other, "--from", then)
	if !r.Faithful || r.First == nil || r.Rehearsed.Starts != 2 || r.Rehearsed.Restarts != 2 || r.Rehearsed.Downtime >= r.Recorded.Downtime || r.Assumed.Unended != 2 {
		t.Errorf("without the group: %+v, first %+v", r, r.First)
	}
	out := smith(0, "rehearse", "--config", other, "--from", then)
	for _, part := range []string{"RECORDED", "first difference", "2 agents that were stopped and go on"} {
		if !strings.Contains(out, part) {
			t.Errorf("rehearse does not say %q:\n%s", part, out)
		}
	}
	t.Log(out)
	smith(2, "rehearse", "--config", s.write("bad.yaml", "supervision_tree: {tre: []}\n"))
	smith(2, "rehearse", "--config", other, "--beyond", "hope")
	s.checkLog()
}

// sameTree compares what trees say about the same decision.
func sameTree(a, b contracts.NodeView) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}
