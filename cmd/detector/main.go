// Command detector finds agents that died or hang.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/detector"
)

// collectAt is GOGC, unless the environment sets it. What the detector keeps is
// mostly entries of agents, through which the collector does not have to look,
// so collecting more often costs little and saves much memory.
const collectAt = 25

func main() {
	program := shell.Program{
		Service:     "detector",
		Description: "Finds agents that died or hang, from their heartbeats and other evidence.",
		Examples: []string{
			"detector --server nats://nats.example.com:4222",
			"detector --context prod --config supervision-config.yaml --http :9102",
		},
		HTTP: "127.0.0.1:9102",
		Run: func(ctx context.Context, env shell.Env, f *config.File) error {
			return detector.Run(ctx, env, detector.FromFile(f))
		},
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	os.Exit(program.Main(os.Args[1:], os.Stdout, os.Stderr))
}
