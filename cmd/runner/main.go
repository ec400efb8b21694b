// Command runner starts, watches and stops the agents of one host.
package main

import (
	"context"
	"os"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/runner"
)

func main() {
	var cfg runner.Config
	program := shell.Program{
		Service:     "runner",
		Description: "Starts, watches and stops the agents of one host. They outlive it, and its successor finds them again.",
		Examples: []string{
			"runner --server nats://nats.example.com:4222 --name host1 --state-dir /var/lib/mistersmith/runner",
			"runner --context prod --label zone=a --work-dir /srv/agents",
		},
		HTTP:  "127.0.0.1:9105",
		Flags: &cfg,
		Run: func(ctx context.Context, env shell.Env, f *config.File) error {
			cfg.File = f
			return runner.Run(ctx, env, cfg)
		},
	}
	os.Exit(program.Main(os.Args[1:], os.Stdout, os.Stderr))
}
