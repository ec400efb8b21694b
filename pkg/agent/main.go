package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of Main.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the environment is not that of an agent
)

// Main runs an agent as this process: it reads the environment that a runner
// sets, stops the agent on SIGTERM or SIGINT, and exits. The code is 0 when
// the agent ended as it should, 1 when it failed, and 2 when the environment
// is wrong. A second signal, or handlers that do not end when their contexts
// do, end the process at once.
func Main(f Func) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		cancel()
		<-signals
		slog.Error("second signal: ending at once")
		os.Exit(exitFailed)
	}()
	os.Exit(run(ctx, f, os.Getenv, os.Args[1:], os.Stderr, func(err error) {
		slog.Error("ending at once", "error", err)
		os.Exit(exitFailed)
	}))
}

// run is Main without the process; stuck is called when handlers do not end.
func run(ctx context.Context, f Func, getenv func(string) string, args []string, stderr io.Writer, stuck func(error)) int {
	o, err := FromEnv(getenv)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitUsage
	}
	o.Args, o.stuck = args, stuck
	err = f(ctx, o)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, err)
	return exitFailed
}
