package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// asHost makes this test binary a program that runs agents within itself.
const asHost = "E2E_HOST"

func runHost() {
	agent.Host{Name: "goroutines", Funcs: map[string]agent.Func{
		"chatty": func(ctx context.Context, o agent.Options) error {
			fmt.Fprintln(o.Output, "printed by", o.Args[0])
			o.Log.Info("logged by it")
			return agent.Run(ctx, o)
		},
		"panicky": func(_ context.Context, o agent.Options) error {
			time.Sleep(300 * time.Millisecond)
			return explode(o.Args)
		},
	}}.Main()
}

//go:noinline
func explode(args []string) error { return fmt.Errorf("no argument %s", args[3]) }

const hostedTree = `
supervision_tree:
  verification: {stabilisation: 100ms}
  tree:
    - {name: chatty, command: [chatty, me], runner: goroutines, heartbeat_interval: 200ms}
    - {name: panicky, command: [panicky], runner: goroutines, heartbeats: runner}
    - {name: demanding, command: [chatty], runner: goroutines, dir: /tmp, health: {max_memory: 1GiB}}
`

// TestAgentsWithinAProgram: what people ask about an agent is answered for one that is
// a goroutine, too.
func TestAgentsWithinAProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := &edited{t: t, file: filepath.Join(dir, "config.yaml")}
	e.write(hostedTree)
	e.up = start(t, bin("smith"), nil, "up", "--listen", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store"), "--config", e.file)
	e.url = readyURL(t, e.up)
	start(t, os.Args[0], []string{asHost + "=1", contracts.EnvNATSURL + "=" + e.url})

	says := func(what string, args []string, want ...string) {
		t.Helper()
		var got string
		eventually(t, 15*time.Second, what, func() bool {
			out, errOut, _ := e.smith(args...)
			got = strings.Join(strings.Fields(out+errOut), " ")
			for _, text := range want {
				if !strings.Contains(got, text) {
					return false
				}
			}
			return true
		})
		if t.Failed() {
			t.Log(got)
		}
	}
	says("its log", []string{"logs", "chatty"}, "Z printed by me", `Z level=INFO msg="logged by it"`)
	says("its panic", []string{"logs", "panicky", "--incarnation", "1"}, "e2e.explode(", "panicked: runtime error: index out of range [3]")
	says("why it panicked", []string{"why", "panicky"}, "panicked", "index out of range [3]", "the last that panicky#", "e2e.explode(")
	says("why it is not started", []string{"why", "demanding"}, "host goroutines cannot give agent demanding dir, health.max_memory:")
	e.up.Stop() // before the program, whose agents it stops
}
