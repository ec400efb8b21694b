package shell

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Hangups sends something for SIGHUP, by which operators have a configuration
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

// endure logs hangups of a service that reads its configuration only when it
// starts, until ctx ends.
func endure(ctx context.Context, hangups <-chan struct{}, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			log.Info("SIGHUP changes nothing here: the configuration is read when the service starts; restart it to have it read again")
		}
	}
}

// OutliveLogReaders makes writes to a closed standard output or error fail, as
// others do, instead of ending the process by SIGPIPE. Programs that the process
// starts have the signal as usual.
func OutliveLogReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
