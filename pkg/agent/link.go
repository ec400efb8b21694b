package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/pkg/natsconn"
)

// ErrConnect tells that NATS could not be reached at the start.
var ErrConnect = errors.New("cannot connect to NATS")

// link is how an agent reaches NATS: one connection for its work and one for
// heartbeats alone, so that no beat waits behind work or is kept for later.
type link struct {
	work *nats.Conn
	js   jetstream.JetStream
	beat *nats.Conn
}

// dial connects twice. name shows the operators who connects; beatName tells the
// detector whose the connection is on which heartbeats go.
func dial(ctx context.Context, name, beatName string, o Options) (*link, error) {
	l := &link{}
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	var err error
	if l.work, err = connect(ctx, o, nats.Name(name)); err != nil {
		return nil, err
	}
	l.beat, err = connect(ctx, o, nats.Name(beatName), nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1), // a beat from before an outage must not be sent after it
		nats.NoEcho())             // what comes on the own heartbeat subject is another's
	if err != nil {
		l.close()
		return nil, err
	}
	if l.js, err = jetstream.New(l.work); err != nil {
		l.close()
		return nil, fmt.Errorf("%w: JetStream: %w", ErrConnect, err)
	}
	return l, nil
}

// reconnectDelay is how long the heartbeats' connection waits before it is tried
// again: hardly at all at first, because the detector has been told that it was
// lost; then longer, and never all agents at the same time.
func reconnectDelay(attempts int) time.Duration {
	wait := 10 * time.Millisecond
	if attempts > 1 {
		wait = 250 * time.Millisecond
	}
	return wait + rand.N(wait)
}

// connect tries until ctx ends, unless the server refuses the credentials.
func connect(ctx context.Context, o Options, more ...nats.Option) (*nats.Conn, error) {
	if err := natsconn.CheckURLs(o.URL); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	at := natsconn.Redact(o.URL)
	var files []nats.Option
	if o.Creds != "" {
		files = append(files, nats.UserCredentials(o.Creds))
	}
	if o.CA != "" {
		files = append(files, nats.RootCAs(o.CA))
	}
	// Those in NATS are not checked: they may have callbacks, whose failures may pass.
	if err := natsconn.CheckOptions(files); err != nil {
		return nil, fmt.Errorf("%w at %s: %w; check the files that %s and %s name", ErrConnect, at, err, contracts.EnvNATSCreds, contracts.EnvNATSCA)
	}
	opts := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			o.Log.Error("NATS reported an error", "agent", o.Agent, "subject", subject, "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Log.Warn("connection to NATS lost; reconnecting", "agent", o.Agent, "error", err)
			}
		}),
	}
	opts = append(append(append(opts, files...), more...), o.NATS...)
	before := natsconn.NotRefused
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		nc, err := nats.Connect(o.URL, opts...)
		if err == nil {
			return nc, nil
		}
		refused := natsconn.RefusalOf(err)
		sure := refused != natsconn.ClientCertificate || refused == before
		before = refused
		if remedy := remedy(err); remedy != "" && sure {
			return nil, fmt.Errorf("%w at %s: %w; %s", ErrConnect, at, err, remedy)
		}
		if !pause(ctx, wait) {
			return nil, fmt.Errorf("%w at %s: %w; is a server running there? `smith up` starts one", ErrConnect, at, err)
		}
	}
}

// remedy is what to do about an error that trying again will not cure, and
// otherwise "".
func remedy(err error) string {
	switch natsconn.RefusalOf(err) {
	case natsconn.Credentials:
		return "check the credentials (" + contracts.EnvNATSCreds + ", or those in " + contracts.EnvNATSURL + ") and what they allow"
	case natsconn.ServerCertificate:
		return contracts.EnvNATSCA + " has to name the authority that signed the server's certificate"
	case natsconn.ClientCertificate:
		return "the server wants another client certificate, which is an option in NATS"
	case natsconn.NoTLS:
		return "the server has no TLS; leave " + contracts.EnvNATSCA + " and tls:// out"
	}
	if errors.Is(err, nats.ErrInvalidArg) || errors.Is(err, nats.ErrSecureConnRequired) {
		return "check " + contracts.EnvNATSURL + " and the options"
	}
	return ""
}

// close flushes what is on its way, if the server is there, and disconnects.
func (l *link) close() {
	for _, nc := range []*nats.Conn{l.work, l.beat} {
		if nc == nil {
			continue
		}
		if nc.IsConnected() {
			_ = flush(nc, time.Second) // what cannot be sent now is lost either way
		}
		nc.Close()
	}
}

// ask sends an empty request that is answered soon or never.
func ask(nc *nats.Conn, subject string) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
	defer cancel()
	return nc.RequestWithContext(ctx, subject, nil)
}

func flush(nc *nats.Conn, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// poke leaves a note in ch unless there is one already.
func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// publishEvent publishes a message until the log has acknowledged it or ctx
// ends, or it is such that it never will be.
func publishEvent(ctx context.Context, js jetstream.JetStream, log *slog.Logger, msg *nats.Msg) error {
	const attempt = 5 * time.Second
	for wait, tries := 100*time.Millisecond, 1; ; wait, tries = min(2*wait, 2*time.Second), tries+1 {
		if ctx.Err() != nil {
			return fmt.Errorf("publish on %s: gave up after %d attempts: %w", msg.Subject, tries-1, context.Cause(ctx))
		}
		one, cancel := context.WithTimeout(ctx, attempt)
		_, err := js.PublishMsg(one, msg)
		cancel()
		if err == nil {
			return nil
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubject) {
			return fmt.Errorf("publish on %s: %w", msg.Subject, err)
		}
		if ctx.Err() == nil && (tries == 1 || tries%10 == 0) {
			log.Warn("event not acknowledged yet; trying again", "subject", msg.Subject, "attempt", tries, "error", err)
		}
		pause(ctx, wait)
	}
}
