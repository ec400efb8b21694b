// Command supervisor decides what is restarted, by tree, strategy and policy.
package main

import (
	"context"
	"os"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/supervisor"
)

func main() {
	program := shell.Program{
		Service:     "supervisor",
		Description: "Decides what is restarted, by tree, strategy and policy. SIGHUP makes it read its configuration again and apply it.",
		Examples: []string{
			"supervisor --server nats://nats.example.com:4222 --config supervision-config.yaml",
			"supervisor --context prod --config supervision-config.yaml --http :9103",
		},
		HTTP:    "127.0.0.1:9103",
		Rereads: true,
		Run: func(ctx context.Context, env shell.Env, f *config.File) error {
			cfg := supervisor.FromFile(f)
			cfg.EndWhenStuck = true
			cfg.Reload = env.Hangups
			return supervisor.Run(ctx, env, cfg)
		},
	}
	os.Exit(program.Main(os.Args[1:], os.Stdout, os.Stderr))
}
