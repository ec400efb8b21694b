package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestCredentialsFromTheEnvironment: an agent beats at a server that wants TLS
// and a user, by what its runner put into its environment; what is wrong there
// is told at once and in one line.
func TestCredentialsFromTheEnvironment(t *testing.T) {
	ca := natstest.NewAuthority(t)
	creds, jwt := natstest.Creds(t)
	s := natstest.Listen(t, jwt, ca.Serve(t, false))
	otherCreds, _ := natstest.Creds(t)
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	nc := s.Connect(t, nats.UserCredentials(creds), nats.RootCAs(ca.File))
	for name, c := range map[string]struct{ creds, ca, says string }{
		"right":                {creds: creds, ca: ca.File},
		"no authority":         {creds: creds, says: "SMITH_NATS_CA"},
		"another authority":    {creds: creds, ca: natstest.NewAuthority(t).File, says: "SMITH_NATS_CA"},
		"no certificate":       {creds: creds, ca: words, says: "SMITH_NATS_CA"},
		"no such file":         {creds: creds, ca: words + "2", says: "SMITH_NATS_CA"},
		"no user":              {ca: ca.File, says: "SMITH_NATS_CREDS"},
		"another user":         {creds: otherCreds, ca: ca.File, says: "SMITH_NATS_CREDS"},
		"no credentials":       {creds: words, ca: ca.File, says: "SMITH_NATS_CREDS"},
		"no credentials' file": {creds: words + "2", ca: ca.File, says: "SMITH_NATS_CREDS"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{
				contracts.EnvAgent: "w1", contracts.EnvNATSURL: s.URL(), contracts.EnvNATSCreds: c.creds, contracts.EnvNATSCA: c.ca,
				contracts.EnvHeartbeatInterval: "1s",
			}
			o, err := agent.FromEnv(func(name string) string { return env[name] })
			if err != nil {
				t.Fatal(err)
			}
			o.Log = quiet()
			beats, err := nc.SubscribeSync(contracts.HeartbeatSubject("w1"))
			if err == nil {
				err = nc.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = beats.Unsubscribe() }()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			begin := time.Now()
			go func() { ended <- agent.Run(ctx, o) }()
			if c.says == "" {
				if _, err := beats.NextMsg(20 * time.Second); err != nil {
					t.Errorf("no heartbeat: %v", err)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("ended with %v", err)
				}
				return
			}
			err = <-ended
			if !errors.Is(err, agent.ErrConnect) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got: %v", err)
			}
			if time.Since(begin) > 5*time.Second {
				t.Errorf("it took %s", time.Since(begin))
			}
		})
	}
}

// TestCallbackThatFailsForAMoment: credentials that an option fetches are fetched
// again.
func TestCallbackThatFailsForAMoment(t *testing.T) {
	creds, jwt := natstest.Creds(t)
	s := natstest.Listen(t, jwt)
	var asked atomic.Int32
	fetched := func(o *nats.Options) error {
		if err := nats.UserCredentials(creds)(o); err != nil {
			return err
		}
		read := o.UserJWT
		o.UserJWT = func() (string, error) {
			if asked.Add(1) == 1 {
				return "", errors.New("the vault is sealed")
			}
			return read()
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	beats, err := s.Connect(t, nats.UserCredentials(creds)).SubscribeSync(contracts.HeartbeatSubject("w1"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Run(ctx, agent.Options{Agent: "w1", URL: s.URL(), NATS: []nats.Option{fetched}, Log: quiet()})
	}()
	if _, err := beats.NextMsg(20 * time.Second); err != nil {
		t.Errorf("no heartbeat: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
