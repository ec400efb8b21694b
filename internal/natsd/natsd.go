// Package natsd runs a nats-server with JetStream inside the process, for one
// host that needs no NATS of its own.
package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options of the embedded server.
type Options struct {
	// Listen is HOST:PORT; port 0 takes a free one.
	Listen string
	// StoreDir holds the streams. It is created when missing.
	StoreDir string
	Log      *slog.Logger
}

// Server is a running nats-server.
type Server struct {
	log  *slog.Logger
	host string
	// opts are those of the next start: its port is the one that clients know.
	opts server.Options

	mu    sync.Mutex
	srv   *server.Server
	ended bool
}

const startTimeout = 15 * time.Second

// ErrListenAddress tells that Options.Listen is no address.
var ErrListenAddress = errors.New("bad listen address")

// Start runs a server that is ready for clients when it returns.
func Start(o Options) (*Server, error) {
	host, port, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	if err := CheckWritable(o.StoreDir); err != nil {
		return nil, err
	}
	if err := checkFree(host, port); err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	s := &Server{log: o.Log.With("service", "nats"), host: host, opts: server.Options{
		ServerName: "smith", Host: host, Port: port, NoSigs: true,
		JetStream: true, StoreDir: o.StoreDir,
		MaxPayload: 1 << 20, WriteDeadline: 10 * time.Second,
		// A laptop's own disk: fsync often enough that a power cut costs
		// seconds, not minutes.
		SyncInterval: 5 * time.Second,
	}}
	if s.srv, err = run(s.opts, s.log); err != nil {
		return nil, err
	}
	s.opts.Port = s.srv.Addr().(*net.TCPAddr).Port
	return s, nil
}

// run starts a server and waits until it is ready.
func run(opts server.Options, log *slog.Logger) (*server.Server, error) {
	srv, err := server.NewServer(&opts)
	if err != nil {
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	srv.SetLoggerV2(logAdapter{log}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		stop(srv)
		return nil, fmt.Errorf("embedded nats-server on %s:%d with store %s: not ready after %s; see its log lines above", opts.Host, opts.Port, opts.StoreDir, startTimeout)
	}
	if err := ShareAdvisories(srv); err != nil {
		stop(srv)
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	return srv, nil
}

// ShareAdvisories lets the clients of a server without accounts of its own hear
// which of them connect and disconnect, which otherwise only the system account
// does. The detector knows from it whose connection was lost.
func ShareAdvisories(srv *server.Server) error {
	system, clients := srv.SystemAccount(), srv.GlobalAccount()
	for _, what := range []string{"CONNECT", "DISCONNECT"} {
		subject := "$SYS.ACCOUNT." + clients.Name + "." + what
		if err := system.AddStreamExport(subject, []*server.Account{clients}); err != nil {
			return fmt.Errorf("export %s: %w", subject, err)
		}
		if err := clients.AddStreamImport(system, subject, ""); err != nil {
			return fmt.Errorf("import %s: %w", subject, err)
		}
	}
	return nil
}

// URL is where clients reach the server.
func (s *Server) URL() string {
	host := s.host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(s.opts.Port))
}

func splitListen(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%w %q: use HOST:PORT such as 127.0.0.1:4222; port 0 takes a free one", ErrListenAddress, listen)
	}
	return host, port, nil
}

// checkFree gives a clear error where the server itself would only log one.
func checkFree(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("listen on %s: %w; is another smith or nats-server running? choose another address with --listen", net.JoinHostPort(host, strconv.Itoa(port)), err)
	}
	return l.Close()
}

// CheckWritable makes a directory if need be and reports why nothing can be
// written into it.
func CheckWritable(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".writable-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("store directory %s is not writable: %w; choose another with --store-dir", filepath.Clean(dir), err)
	}
	return nil
}

// logAdapter passes the server's warnings and errors on; its chatter goes to
// debug.
type logAdapter struct{ log *slog.Logger }

func (l logAdapter) Noticef(format string, v ...any) { l.log.Debug(text(format, v)) }
func (l logAdapter) Warnf(format string, v ...any)   { l.log.Warn(text(format, v)) }
func (l logAdapter) Fatalf(format string, v ...any)  { l.log.Error(text(format, v)) }
func (l logAdapter) Errorf(format string, v ...any)  { l.log.Error(text(format, v)) }
func (l logAdapter) Debugf(format string, v ...any)  { l.log.Debug(text(format, v)) }
func (l logAdapter) Tracef(format string, v ...any)  { l.log.Debug(text(format, v)) }

func text(format string, v []any) string { return strings.TrimSpace(fmt.Sprintf(format, v...)) }
