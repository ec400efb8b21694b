package shell_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestGuardedCallEndsWithTheConnection asks what nobody answers, and takes the
// server away: the call ends at once, not when its minute is over, and speaks
// not against the service.
func TestGuardedCallEndsWithTheConnection(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		natstest.Streams(t, natstest.JetStream(t, s.Connect(t)))
		env := newEnv(t, s, "router")
		if _, err := env.NC.SubscribeSync("silent"); err != nil {
			t.Fatal(err)
		}
		g := shell.NewGuard(env, nil, contracts.ServiceRunner)
		begin, ended := time.Now(), make(chan error)
		go func() {
			ended <- g.Run(t.Context(), "ask", func(ctx context.Context) error {
				_, err := env.NC.RequestWithContext(ctx, "silent", nil)
				return err
			})
		}()
		<-time.After(time.Second)
		s.Down()
		if err := <-ended; !errors.Is(err, guard.ErrInterrupted) {
			t.Errorf("the call ended with %v", err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if g.State() != guard.Closed {
			t.Errorf("the breaker is %s", g.State())
		}
		s.Up(t)
		for env.NC.Stats().Reconnects == 0 {
			<-time.After(10 * time.Millisecond)
		}
		if err := g.Run(t.Context(), "flush", env.NC.FlushWithContext); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
