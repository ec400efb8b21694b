package supervisor

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestTheSameFileJoinsItsRollout: a caller that waits for the rollout of a file waits
// for it however often that file is read meanwhile: by another command, by SIGHUP, and
// by the supervisor that is started with it. Another file supersedes it.
func TestTheSameFileJoinsItsRollout(t *testing.T) {
	slow := func(command string) string {
		return strings.Replace(fleet(command, "one"), "100ms", "5s", 1)
	}
	inWorld(t, slow("x"), func(t *testing.T, w *world) {
		path := filepath.Join(t.TempDir(), "own.yaml")
		w.file = fileOf(t, path, slow("x"))
		stop := w.up()
		apply := func(text string) string {
			t.Helper()
			p, err := w.configure("apply", contracts.ConfigRequest{ConfigText: contracts.ConfigText{Config: text}, Name: "own.yaml", Source: "laptop:/own.yaml"})
			if err != nil || !p.Applied || p.Rolling == nil || p.Rolling.State != contracts.RollingOn {
				t.Fatalf("apply: %+v, %v", p, err)
			}
			return p.Rolling.ID
		}
		state := func(id string) contracts.RollingState {
			t.Helper()
			v, err := ask[contracts.RollingView](w, "rolling", contracts.RollingRequest{ID: id})
			if err != nil {
				t.Fatal(err)
			}
			return v.State
		}
		first := apply(slow("y"))
		w.want("the same file again", apply(slow("y")), first)
		w.want("with a comment", apply(slow("y")+"# ticket 42\n"), first)
		stop()
		reload := make(chan struct{})
		w.file = fileOf(t, path, slow("y"))
		stop = w.supervise("s", func(c *Config) { c.Reload = reload })
		w.waitFor("the service", 10*time.Second, func() bool { return state(first) == contracts.RollingOn })
		reload <- struct{}{}
		w.want("the same file once more", apply(slow("y")), first)
		w.rolled()
		if s := state(first); s != contracts.RollingNone {
			t.Errorf("it ended as %s", s)
		}
		first = apply(slow("z"))
		second := apply(slow("x"))
		if s := state(first); s != contracts.RollingSuperseded || second == first {
			t.Errorf("the first is %s, and %s took its place", s, second)
		}
		w.rolled()
		stop()
		w.gapless()
	})
}
