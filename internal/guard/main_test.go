package guard

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

// once is the retry setting of tests about something else.
var once = config.Retry{MaxAttempts: 1, Base: 1}

func fails(context.Context) error    { return errDown }
func succeeds(context.Context) error { return nil }

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// hanging starts a call that lasts until the returned function is called.
func hanging(t *testing.T, g *Guard) (end func(error) error) {
	t.Helper()
	release, result := make(chan error), make(chan error, 1)
	go func() {
		result <- g.Run(t.Context(), "hang", func(context.Context) error { return <-release })
	}()
	synctest.Wait()
	return func(err error) error {
		release <- err
		return <-result
	}
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got %v, not %v", got, want)
	}
}

func wantState(t *testing.T, g *Guard, want State) {
	t.Helper()
	if got := g.State(); got != want {
		t.Fatalf("the breaker is %s, not %s", got, want)
	}
}

// trip fails until the breaker opens.
func trip(t *testing.T, g *Guard) {
	t.Helper()
	for range g.opts.Breaker.FailureThreshold {
		wantErr(t, g.Run(t.Context(), "op", fails), errDown)
	}
	wantState(t, g, Open)
}

func breakerOptions(c config.CircuitBreaker) Options { return Options{Breaker: c, Retry: once} }

const second = time.Second
