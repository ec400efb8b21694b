package shell_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/capture"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
)

// TestSecretsStaySecret: neither what is logged nor what is returned has a
// password in it, whatever is wrong with the URL or with the server.
func TestSecretsStaySecret(t *testing.T) {
	const host = "127.0.0.1:1" // where nobody listens
	for name, c := range map[string]struct{ server, want string }{
		"password":          {"nats://u:hunter2@" + host, "no NATS server answers at nats://***@" + host},
		"without a scheme":  {"u:hunter2@" + host, "no NATS server answers at ***@" + host},
		"token":             {"nats://hunter2@" + host, "no NATS server answers at nats://***@" + host},
		"@ in it":           {"nats://u:x@hunter2@" + host, "no NATS server answers at nats://***@" + host},
		"percent-encoded":   {"nats://u:x%40hunter2@" + host, "no NATS server answers at nats://***@" + host},
		"several":           {"nats://" + host + ",nats://u:hunter2@" + host, "no NATS server answers at nats://" + host + ",nats://***@" + host},
		"slash in it":       {"nats://u:hunter2/x@" + host, "--server: invalid server URL: number 1 of 1"},
		"slash in a number": {"nats://u:4/hunter2@" + host, "--server: invalid server URL: number 1 of 1"},
		"bad escape":        {"nats://" + host + ",nats://u:%hunter2@" + host, "--server: invalid server URL: number 2 of 2"},
		"space":             {"nats://u:hunter2@ho st", "--server: invalid server URL: number 1 of 1"},
		"comma":             {"nats://u:hunter2,x@" + host, "--server: invalid server URL: number 1 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logged bytes.Buffer
			flags := shell.NATSFlags{Server: c.server, Timeout: 2 * time.Second}
			nc, err := flags.Connect(t.Context(), "test", slog.New(slog.NewJSONHandler(&logged, nil)))
			if err == nil {
				nc.Close()
				t.Fatalf("connected; want %q…", c.want)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %q…", err, c.want)
			}
			if strings.HasPrefix(c.want, "no NATS") && !strings.Contains(logged.String(), "trying again") {
				t.Errorf("nothing logged: %s", logged.String())
			}
			for _, said := range []string{logged.String(), err.Error()} {
				if strings.Contains(said, "hunter2") {
					t.Errorf("the secret is in: %s", said)
				}
			}
		})
	}
}

// TestSecretsStaySecretAfterwards: so it is with a server that refuses, that has
// no JetStream, and that comes back.
func TestSecretsStaySecretAfterwards(t *testing.T) {
	s := natstest.Listen(t, func(o *server.Options) { o.Authorization, o.JetStream = "hunter2", false })
	with := func(token string) string { return strings.Replace(s.URL(), "nats://", "nats://"+token+"@", 1) }
	var logged capture.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	_, err := shell.NATSFlags{Server: with("wr0ng")}.Connect(t.Context(), "test", log)
	if err == nil || !strings.Contains(err.Error(), "refused the credentials") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("refused with %v", err)
	}
	back := make(chan struct{})
	nc, err := shell.NATSFlags{Server: with("hunter2")}.Connect(t.Context(), "test", log)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := shell.JetStream(t.Context(), nc); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without JetStream: %v", err)
	}
	logs := nc.Opts.ReconnectedCB
	nc.SetReconnectHandler(func(nc *nats.Conn) {
		logs(nc)
		close(back)
	})
	s.Down()
	s.Up(t)
	<-back
	if said := logged.String(); !strings.Contains(said, "restored") || strings.Contains(said, "hunter2") || strings.Contains(said, "wr0ng") {
		t.Errorf("logged: %s", said)
	}
}
