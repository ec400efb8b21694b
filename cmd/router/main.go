// Command router gives tasks to agents that can do them.
package main

import (
	"context"
	"os"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/router"
)

func main() {
	program := shell.Program{
		Service:     "router",
		Description: "Gives tasks to the least-loaded able agents, and again to others when these fail.",
		Examples: []string{
			"router --server nats://nats.example.com:4222",
			"router --context prod --config supervision-config.yaml --http :9104",
		},
		HTTP: "127.0.0.1:9104",
		Run: func(ctx context.Context, env shell.Env, f *config.File) error {
			return router.Run(ctx, env, router.FromFile(f))
		},
	}
	os.Exit(program.Main(os.Args[1:], os.Stdout, os.Stderr))
}
