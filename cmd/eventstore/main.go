// Command eventstore owns the event stream and answers queries, replays and why.
package main

import (
	"context"
	"os"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/eventstore"
)

type flags struct {
	IndexDir string `env:"SMITH_EVENTSTORE_INDEX_DIR" type:"path" placeholder:"DIR" help:"Directory of the index (default: in memory, built anew at every start)."`
}

func main() {
	var fl flags
	program := shell.Program{
		Service:     "eventstore",
		Description: "Owns MisterSmith's event stream; answers queries, replays and why.",
		Examples: []string{
			"eventstore --server nats://nats.example.com:4222 --index-dir /var/lib/mistersmith/index",
			"eventstore --context prod --http :9101",
		},
		HTTP:  "127.0.0.1:9101",
		Flags: &fl,
		Run: func(ctx context.Context, env shell.Env, f *config.File) error {
			cfg := eventstore.FromFile(f)
			cfg.IndexDir = fl.IndexDir
			return eventstore.Run(ctx, env, cfg)
		},
	}
	os.Exit(program.Main(os.Args[1:], os.Stdout, os.Stderr))
}
