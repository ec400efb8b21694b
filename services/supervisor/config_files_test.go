package supervisor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
)

// TestFilesAndTheLog: what was applied outlives the supervisor; a file counts
// when it was edited and its process started, and when its supervisor is told to
// read it again.
func TestFilesAndTheLog(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		path := filepath.Join(t.TempDir(), "own.yaml")
		w.file = fileOf(t, path, fleet("x", "one"))
		stop := w.up()
		w.apply(fleet("y", "two"))
		w.runner.takeLog()
		restart := func(what, want string) {
			t.Helper()
			stop()
			stop = w.supervise("s")
			w.rolled()
			w.want(what, w.runner.takeLog(), want)
		}
		restart("its own file was not edited", "")
		w.runner.exit("e", 1)
		w.settled()
		w.want("environment by a successor", w.env("e"), "two")
		w.runner.takeLog()

		w.file = fileOf(t, path, fleet("z", "two"))
		restart("its own file was edited", "stop a 2, start a 3, stop b 2, start b 3")
		restart("and was read", "")

		reload := make(chan struct{})
		w.apply(fleet("y", "two"))
		w.runner.takeLog()
		stop()
		stop = w.supervise("s", func(c *Config) { c.Reload = reload })
		w.settled()
		if err := os.WriteFile(path, []byte("supervision_tree: {tree: [{name: a}]}"), 0o600); err != nil {
			t.Fatal(err)
		}
		reload <- struct{}{}
		w.settled()
		w.want("read again with a mistake", w.runner.takeLog(), "")
		fileOf(t, path, fleet("z", "two"))
		reload <- struct{}{}
		<-time.After(time.Second)
		w.rolled()
		w.want("read again", w.runner.takeLog(), "stop a 4, start a 5, stop b 4, start b 5")
		stop()
		w.gapless()
	})
}

// TestTwoSupervisorsWithDifferentFiles: who takes over changes nothing, and who
// joins changes something only when its file was edited since it was last read.
func TestTwoSupervisorsWithDifferentFiles(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		dir := t.TempDir()
		one, other := filepath.Join(dir, "one.yaml"), filepath.Join(dir, "other.yaml")
		first, strange := fileOf(t, one, fleet("x", "one")), fileOf(t, other, fleet("strange", "three"))
		w.file = first
		stopFirst := w.supervise("s1")
		w.settled()
		w.runner.takeLog()

		w.file = strange
		reload := make(chan struct{})
		stopOther := w.supervise("s2", func(c *Config) { c.Reload = reload })
		<-time.After(5 * time.Second)
		w.want("it joins with a file of its own", w.runner.takeLog(), "")
		stopFirst()
		w.settled()
		if s := w.tree().Supervisor; s != "s2" {
			t.Fatalf("%s decides", s)
		}
		w.want("it takes over", w.runner.takeLog(), "")
		w.runner.exit("e", 1)
		w.settled()
		w.want("environment", w.env("e"), "one")
		w.runner.takeLog()

		// The first one comes back, with its file edited: it is an operator's wish.
		w.file = fileOf(t, one, fleet("y", "one"))
		stopFirst = w.supervise("s1")
		<-time.After(5 * time.Second)
		w.rolled()
		w.want("it joins with an edited file", w.runner.takeLog(), "stop a 1, start a 2, stop b 1, start b 2")
		stopOther()
		w.settled()
		w.want("and takes over", w.runner.takeLog(), "")

		// The other one stands by and is told to read its file again.
		w.file = strange
		stopOther = w.supervise("s2", func(c *Config) { c.Reload = reload })
		<-time.After(5 * time.Second)
		w.want("the strange file again", w.runner.takeLog(), "")
		reload <- struct{}{}
		<-time.After(5 * time.Second)
		w.rolled()
		w.want("by order", w.runner.takeLog(), "stop a 2, start a 3, stop b 2, start b 3, stop e 2, start e 3")
		stopFirst()
		stopOther()
		w.gapless()
	})
}

// TestNoFileIsNoOpinion: a supervisor without a file keeps what is in force.
func TestNoFileIsNoOpinion(t *testing.T) {
	inWorld(t, fleet("x", "one"), func(t *testing.T, w *world) {
		stop := w.supervise("s1")
		up := w.settled()
		stop()
		w.file = config.Default()
		w.runner.takeLog()
		w.supervise("s2")
		w.want("tree", w.settled(), up)
		w.want("done", w.runner.takeLog(), "")
	})
}
