// Command detector finds agents that died or hang.
package main

import (
	"context"
	"os"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/detector"
)

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
	os.Exit(program.Main(os.Args[1:], os.Stdout, os.Stderr))
}
