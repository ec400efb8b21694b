package supervisor

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestEmptiedFile: a file that does not say what the tree has is refused by every
// way in which a configuration comes, with what it would remove, and nothing changes.
func TestEmptiedFile(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		path := filepath.Join(t.TempDir(), "own.yaml")
		good := fleet("x", "one")
		w.file = fileOf(t, path, good)
		reload := make(chan struct{})
		withReload := func(c *Config) { c.Reload = reload }
		stop := w.up(withReload)
		up := w.settled()
		same := func(what string) {
			t.Helper()
			w.want(what, w.settled(), up)
			w.want("done by "+what, w.runner.takeLog(), "")
		}
		const want = "all 4 agents that the configuration in force has (a, b, e and 1 more)"
		for name, text := range map[string]string{
			"0 bytes": "", "comments": "# nothing\n", "a section": "supervision_tree:\n", "cut off": "supervision_tree:\n  tree:\n",
			"settings alone": "supervision_tree: {verification: {stabilisation: 1s}}\n",
		} {
			for _, verb := range []string{"plan", "apply"} {
				p, err := w.configure(verb, contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: text}, Name: "new.yaml"})
				if err != nil || p.Applied || len(p.Changes) > 0 || len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Message, want) || !strings.Contains(p.Problems[0].Message, `"tree: []"`) {
					t.Errorf("%s of %s: %+v, %v", verb, name, p, err)
				}
			}
		}
		same("plan and apply")

		decision := w.tree().Decision
		w.file = fileOf(t, path, "")
		reload <- struct{}{}
		<-time.After(time.Second)
		same("SIGHUP")
		if after := w.tree().Decision; after != decision {
			t.Errorf("decision %d after %d", after, decision)
		}
		for range 2 { // the second start says it again
			stop()
			var said strings.Builder
			cfg := FromFile(w.file)
			withReload(&cfg)
			env := newEnv(t, w.server.Connect(t), "s", slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelError})), w.reg)
			stop, _ = launch(t, env, cfg)
			same("a start")
			if !strings.Contains(said.String(), want) || !strings.Contains(said.String(), "own.yaml") {
				t.Errorf("a start says: %s", said.String())
			}
		}
		// A supervisor that stands by offers its file, too.
		other := w.supervise("s2")
		<-time.After(5 * time.Second)
		same("joining")
		other()

		w.file = fileOf(t, path, strings.Replace(good, "[x]", "[y]", 1))
		reload <- struct{}{}
		<-time.After(time.Second)
		w.rolled()
		w.want("the restored file", w.runner.takeLog(), "stop a 1, start a 2")

		fileOf(t, path, "supervision_tree: {tree: []}")
		reload <- struct{}{}
		<-time.After(time.Second)
		w.want("a tree of nothing", w.settled(), "root running")
		if p := w.apply(""); len(p.Changes) > 0 {
			t.Errorf("an empty file does nothing to an empty tree: %+v", p)
		}
		stop()
		w.gapless()
	})
}

// TestEmptyFileStarts: an empty file is a valid first configuration.
func TestEmptyFileStarts(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.file = fileOf(t, filepath.Join(t.TempDir(), "own.yaml"), "")
		w.up()
		w.want("tree", w.settled(), "root running")
	})
}
