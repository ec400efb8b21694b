package shell

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Hangups gives something for SIGHUP, by which operators have a configuration
// read again, until ctx ends. From now on the signal no longer ends the process.
// Signals that come while one is being handled count once.
func Hangups(ctx context.Context) <-chan struct{} {
	signals, out := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out
}
