package shell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/natsconn"
)

// DefaultServer is where a NATS server is looked for when nothing else is said.
const DefaultServer = "nats://127.0.0.1:4222"

// NATSFlags say how to reach NATS. They have the names, environment variables
// and meaning that the nats CLI gives them; a context (--context) is one of
// that tool's, and single flags override it. One thing differs: the context that
// is selected there counts only where Selected says so and no server is named,
// so that its credentials go to no other server than its own.
type NATSFlags struct {
	Server      string `short:"s" env:"NATS_URL" placeholder:"URL" help:"NATS server URLs, comma separated (default ${server})."`
	Context     string `env:"NATS_CONTEXT" placeholder:"NAME" help:"A context of the nats CLI."`
	Creds       string `env:"NATS_CREDS" type:"path" placeholder:"FILE" help:"Credentials file."`
	NKey        string `name:"nkey" env:"NATS_NKEY" type:"path" placeholder:"FILE" help:"NKey seed file."`
	User        string `env:"NATS_USER" help:"User name, or token when there is no password."`
	Password    string `env:"NATS_PASSWORD" help:"Password."`
	TLSCert     string `name:"tlscert" env:"NATS_CERT" type:"path" placeholder:"FILE" help:"TLS client certificate."`
	TLSKey      string `name:"tlskey" env:"NATS_KEY" type:"path" placeholder:"FILE" help:"TLS private key."`
	TLSCA       string `name:"tlsca" env:"NATS_CA" type:"path" placeholder:"FILE" help:"TLS certificate authority."`
	TLSFirst    bool   `name:"tlsfirst" help:"Do the TLS handshake before the NATS greeting."`
	InboxPrefix string `name:"inbox-prefix" env:"NATS_INBOX_PREFIX" placeholder:"PREFIX" help:"Prefix of inboxes (default _INBOX)."`
	// Selected has the context that `nats context select` chose used where
	// neither another nor a server is named.
	Selected bool          `kong:"-"`
	Timeout  time.Duration `env:"NATS_TIMEOUT" default:"10s" help:"How long connecting and one request may take."`
}

// Options are the flags, and the context they name, as client options, and the
// servers to connect to.
func (f NATSFlags) Options() (servers string, opts []nats.Option, err error) {
	if err := f.checkFiles(); err != nil {
		return "", nil, err
	}
	var over []natscontext.Option
	set := func(v string, o func(string) natscontext.Option) {
		if v != "" {
			over = append(over, o(v))
		}
	}
	set(f.Server, natscontext.WithServerURL)
	set(f.Creds, natscontext.WithCreds)
	set(f.NKey, natscontext.WithNKey)
	set(f.Password, natscontext.WithPassword)
	set(f.TLSCert, natscontext.WithCertificate)
	set(f.TLSKey, natscontext.WithKey)
	set(f.TLSCA, natscontext.WithCA)
	set(f.InboxPrefix, natscontext.WithInboxPrefix)
	if f.TLSFirst {
		over = append(over, natscontext.WithTLSHandshakeFirst())
	}
	load := f.Context != "" || f.Selected && f.Server == ""
	nctx, err := natscontext.New(f.Context, load, over...)
	if err == nil && f.User != "" {
		// Which of the two it is depends on what the context has.
		user := natscontext.WithToken
		if nctx.User() != "" || nctx.Password() != "" {
			user = natscontext.WithUser
		}
		nctx, err = natscontext.New(f.Context, load, append(over, user(f.User))...)
	}
	if err != nil {
		name := f.Context
		if name == "" {
			name = natscontext.SelectedContext()
		}
		return "", nil, fmt.Errorf("NATS context %q: %w; `nats context ls` lists those there are", name, err)
	}
	opts, err = nctx.NATSOptions()
	if err == nil {
		err = natsconn.CheckOptions(opts)
	}
	if err != nil {
		return "", nil, fmt.Errorf("NATS options: %w; check --creds, --nkey, --tlsca, --tlscert and --tlskey, or the context", err)
	}
	return nctx.ServerURL(), opts, nil
}

// Connect opens a connection that reconnects for ever. Trouble on it is logged.
func (f NATSFlags) Connect(ctx context.Context, name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	servers, opts, err := f.Options()
	if err != nil {
		return nil, err
	}
	if err := natsconn.CheckURLs(servers); err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	timeout := f.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	opts = append(opts, ConnectionOptions(name, log)...)
	opts = append(opts, nats.Timeout(min(timeout, 5*time.Second)))
	nc, err := connectWithin(ctx, timeout, servers, append(opts, more...), log)
	if err != nil {
		return nil, connectError(servers, err)
	}
	return nc, nil
}

// checkFiles finds out before any connecting which of the named files cannot be
// read: waiting for a server would not bring them.
func (f NATSFlags) checkFiles() error {
	for _, named := range []struct{ flag, path string }{
		{"--creds", f.Creds}, {"--nkey", f.NKey}, {"--tlscert", f.TLSCert}, {"--tlskey", f.TLSKey}, {"--tlsca", f.TLSCA},
	} {
		if named.path == "" {
			continue
		}
		file, err := os.Open(named.path)
		if err != nil {
			return fmt.Errorf("%s: %w; name a file that this user may read", named.flag, err)
		}
		_ = file.Close()
	}
	return nil
}

// connectWithin retries, because services and their server often start
// together.
func connectWithin(ctx context.Context, within time.Duration, servers string, opts []nats.Option, log *slog.Logger) (*nats.Conn, error) {
	end := time.Now().Add(within)
	told, before := false, natsconn.NotRefused
	for {
		nc, err := nats.Connect(servers, opts...)
		refused := natsconn.RefusalOf(err)
		sure := refused != natsconn.NotRefused && (refused != natsconn.ClientCertificate || refused == before)
		if err == nil || sure || !time.Now().Before(end) || ctx.Err() != nil {
			return nc, err
		}
		before = refused
		if !told && refused == natsconn.NotRefused {
			told = true
			log.Info("NATS server not reachable yet; trying again", "server", natsconn.Redact(servers), "for", within, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func connectError(servers string, err error) error {
	at := natsconn.Redact(servers)
	if why := refusal(err); why != "" {
		return fmt.Errorf("NATS server %s "+why, at, err)
	}
	if errors.Is(err, nats.ErrNoServers) || strings.Contains(err.Error(), "refused") {
		return fmt.Errorf("no NATS server answers at %s: %w; start one (smith up, or nats-server -js) or name another with --server", at, err)
	}
	return fmt.Errorf("connect to NATS at %s: %w; check --server, or the context", at, err)
}

// refusal is the format of what there is to say about a server that refuses, or
// "".
func refusal(err error) string {
	switch natsconn.RefusalOf(err) {
	case natsconn.Credentials:
		return "refused the credentials: %w; check --creds, --nkey, --user or the context"
	case natsconn.ServerCertificate:
		return "has a certificate that is not trusted: %w; name with --tlsca the authority that signed it, and with --server a host that it is for"
	case natsconn.ClientCertificate:
		return "refused the client's certificate: %w; name with --tlscert and --tlskey one that the server trusts"
	case natsconn.NoTLS:
		return "has no TLS: %w; leave out --tlsca, --tlscert, --tlskey and tls:// or name another with --server"
	}
	return ""
}

// connectedTo is the URL of a connection's server, as it may be logged. The
// client's own ConnectedUrlRedacted shows tokens.
func connectedTo(nc *nats.Conn) string { return natsconn.Redact(nc.ConnectedUrl()) }

// ConnectionOptions are those every connection of a service has: it never
// stops reconnecting, notices a dead server in 20 s, and logs what the client
// reports asynchronously, each kind of trouble at most every 10 s.
func ConnectionOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.PermissionErrOnSubscribe(true),
		nats.ErrorHandler(newTroubles(log).report),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("NATS connection restored", "server", connectedTo(nc))
		}),
	}
}

// JetStream gives the JetStream interface of a connection, and an error that
// says what to do when the server has none.
func JetStream(ctx context.Context, nc *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, js); err != nil {
		if notEnabled(err) || errors.Is(err, nats.ErrNoResponders) {
			return nil, fmt.Errorf("NATS server %s has no JetStream for this account: %w; start it with `nats-server -js`", connectedTo(nc), err)
		}
		return nil, fmt.Errorf("JetStream at %s: %w", connectedTo(nc), err)
	}
	return js, nil
}

// answers asks JetStream whether it is there. A server that has just started may
// let a first request go unanswered, so the question is repeated.
func answers(ctx context.Context, js jetstream.JetStream) error {
	var err error
	for wait := time.Second; wait <= 8*time.Second; wait *= 2 {
		try, cancel := context.WithTimeout(ctx, wait)
		_, err = js.AccountInfo(try)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return err
}
