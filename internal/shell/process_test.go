package shell

import (
	"bytes"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignalTwiceIsOneSignal: timeout(1) signals a process and its group; that
// must not cut the shutdown short. A process that exited would fail the test.
func TestSignalTwiceIsOneSignal(t *testing.T) {
	seen := make(chan os.Signal, 2)
	signal.Notify(seen, syscall.SIGTERM)
	defer signal.Stop(seen)
	ctx, stop := signals(t.Context(), slog.New(slog.DiscardHandler), time.Minute, nil)
	defer stop()
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-seen
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("the context goes on")
	}
	<-time.After(50 * time.Millisecond) // for whoever would exit
}

// TestNoColor: on a terminal lines are coloured, unless NO_COLOR says otherwise.
func TestNoColor(t *testing.T) {
	for value, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", value)
		var out bytes.Buffer
		slog.New(textHandler(&out, slog.LevelInfo, true)).Info("x")
		if got := strings.Contains(out.String(), "\x1b["); got != want {
			t.Errorf("NO_COLOR=%q: coloured %v in %q", value, got, out.String())
		}
	}
}
