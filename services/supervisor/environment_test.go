package supervisor

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const secret = "hunter2"

func (w *world) addSecretive(parent, name string) error {
	w.t.Helper()
	_, err := ask[contracts.OK](w, "add", contracts.AddRequest{Parent: parent, Child: contracts.ChildSpec{
		Name: name, Command: []string{"x"}, Env: map[string]string{"TOKEN": secret, "PLACE": name},
	}})
	return err
}

// kept counts the environments in the bucket, and says whether any of its keys
// of another kind has the secret.
func (w *world) kept() (environments int, elsewhere []string) {
	w.t.Helper()
	for _, msg := range natstest.Messages(w.t, w.js, "KV_"+contracts.StateBucket) {
		if !strings.Contains(string(msg.Data), secret) {
			continue
		}
		if strings.HasPrefix(msg.Subject, "$KV."+contracts.StateBucket+".environment.") {
			environments++
		} else {
			elsewhere = append(elsewhere, msg.Subject)
		}
	}
	return environments, elsewhere
}

// logged tells where in the event stream the secret is.
func (w *world) logged() (subjects []string) {
	w.t.Helper()
	for _, msg := range natstest.Messages(w.t, w.js, contracts.EventStream) {
		if strings.Contains(string(msg.Data), secret) {
			subjects = append(subjects, msg.Subject)
		}
	}
	return subjects
}

// TestEnvironmentsOfAddedAgents: an agent added at run time is started with its
// environment, also by the successor of a supervisor that was killed, and nobody
// who reads the log, a snapshot or an answer sees it. It is deleted with the agent,
// and with an addition that is refused.
func TestEnvironmentsOfAddedAgents(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		everySnapshot := func(c *Config) { c.SnapshotEvery = 1 }
		stop := w.up(everySnapshot)
		if err := w.addSecretive("single", "n"); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"TOKEN": secret, "PLACE": "n"}
		started := func(when string) {
			t.Helper()
			w.settled()
			w.runner.mu.Lock()
			defer w.runner.mu.Unlock()
			if got := w.runner.envs["n"]; !maps.Equal(got, want) {
				t.Errorf("%s: started with %v", when, got)
			}
			w.runner.envs["n"] = nil
		}
		hidden := func(when string, environments int) {
			t.Helper()
			<-time.After(10 * time.Second) // snapshots and deletions are not waited for
			n, elsewhere := w.kept()
			if n != environments || len(elsewhere) > 0 {
				t.Errorf("%s: %d environments are kept, want %d; the secret is in %v", when, n, environments, elsewhere)
			}
			if in := w.logged(); len(in) > 0 {
				t.Errorf("%s: the secret is in the log: %v", when, in)
			}
		}
		started("at first")
		w.runner.exit("n", 1)
		started("again")
		now := time.Now()
		past, err := json.Marshal(w.treeAt(contracts.Moment{At: &now}))
		if err != nil || strings.Contains(string(past), secret) || !strings.Contains(string(past), `"n"`) {
			t.Errorf("the tree as it was: %v %s", err, past)
		}
		hidden("after a restart", 1)

		stop()
		w.killed("s2", 3*time.Second)
		w.supervise("s3", everySnapshot)
		w.settled()
		w.runner.exit("n", 1)
		started("by a successor")
		hidden("with a successor", 1)

		for name, parent := range map[string]string{"n": "single", "m": "nobody"} {
			if err := w.addSecretive(parent, name); err == nil {
				t.Errorf("%s was added to %s", name, parent)
			}
		}
		hidden("after refusals", 1)
		w.runner.exit("n", 1)
		started("after refusals")
		w.order("remove", contracts.NodeRequest{Node: "n"})
		hidden("after the removal", 0)
	})
}

// TestEnvironmentsLeftBehind: what nobody refers to is deleted by who takes over;
// what is referred to and gone is told, and holds up nobody else.
func TestEnvironmentsLeftBehind(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		stop := w.up()
		if err := w.addSecretive("single", "n"); err != nil {
			t.Fatal(err)
		}
		w.settled()
		stop()
		kv, err := w.js.KeyValue(t.Context(), contracts.StateBucket)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kv.ListKeysFiltered(t.Context(), contracts.EnvironmentKey(w.file.Tree.Name, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for key := range keys.Keys() {
			if err := kv.Purge(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		for _, ref := range []string{"orphan", "spoiled"} {
			body := map[string]string{"orphan": `{"TOKEN":"` + secret + `"}`, "spoiled": secret}[ref]
			if _, err := kv.PutString(t.Context(), contracts.EnvironmentKey(w.file.Tree.Name, ref), body); err != nil {
				t.Fatal(err)
			}
		}
		w.supervise("s2")
		w.settled()
		w.runner.takeLog()
		w.runner.exit("n", 1)
		w.runner.exit("a", 1)
		<-time.After(10 * time.Second)
		if did := w.runner.takeLog(); !strings.HasPrefix(did, "exit n 1, exit a 1, start a 2") || strings.Contains(did, "start n") {
			t.Errorf("done: %s", did)
		}
		if got := w.find("n"); !strings.Contains(got, "remove the agent and add it again") {
			t.Errorf("told of n: %s", got)
		}
		if n, _ := w.kept(); n != 0 {
			t.Errorf("%d environments are kept", n)
		}
	})
}

// find returns what the supervisor says of a node, and what failures of it are in
// the log.
func (w *world) find(node string) string {
	w.t.Helper()
	all, err := json.Marshal(stored[contracts.AgentFailedData](w, contracts.AgentFailed))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(all)
}
