// Package natstest gives tests a real nats-server with JetStream.
//
// Bubble runs a test in a testing/synctest bubble, where Start gives a server
// that listens on no port and is reached in process: virtual time covers server,
// client and code under test alike. Outside a bubble, Listen serves a free
// loopback port. All end with the test and leave nothing behind.
//
// Tests of one package that cross NATS run one after the other even when they
// are parallel: nats.go pools its timers in a global, and a timer made in one
// bubble may not be touched from outside it.
package natstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/internal/natsd"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Main is a package's TestMain: it keeps the server's clock outside of bubbles,
// without which virtual time would freeze, and fails on goroutines left over.
func Main(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Isolate takes away what the environment says of NATS and of services, which
// their flags read. What it says to tests (NATS_CLI, SMITH_TEST_…) stays.
func Isolate() {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		flag := strings.HasPrefix(name, "NATS_") || strings.HasPrefix(name, "SMITH_")
		if !flag || name == "NATS_CLI" || strings.HasPrefix(name, "SMITH_TEST_") {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
}

// bubbles are the tests that run in one.
var bubbles sync.Map

// alone is held by the one test that uses nats.go's pool of timers.
var alone sync.Mutex

// Bubble runs f in a synctest bubble of its own.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	alone.Lock()
	defer alone.Unlock()
	defer dropPooledTimers()
	synctest.Test(t, func(t *testing.T) {
		bubbles.Store(t, true)
		t.Cleanup(func() { bubbles.Delete(t) })
		// The last cleanup lets what the client does on a timer see that its
		// connection is closed: time stands still once the test is over.
		t.Cleanup(func() { <-time.After(time.Second) })
		f(t)
	})
}

// dropPooledTimers empties every sync.Pool: what one collection moves aside,
// the next one drops.
func dropPooledTimers() {
	runtime.GC()
	runtime.GC()
}

// Server is a running nats-server that can be stopped and started again with
// the same storage.
type Server struct {
	opts   server.Options
	bubble bool
	mu     sync.Mutex
	srv    *server.Server
}

// Start runs a server that is reached in process only; for use in a Bubble.
func Start(tb testing.TB, change ...func(*server.Options)) *Server {
	tb.Helper()
	return start(tb, server.Options{DontListen: true}, change)
}

// Listen runs a server on a free port of 127.0.0.1; a test may have one.
func Listen(tb testing.TB, change ...func(*server.Options)) *Server {
	tb.Helper()
	alone.Lock()
	tb.Cleanup(func() {
		dropPooledTimers()
		alone.Unlock()
	})
	return start(tb, server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT}, change)
}

func start(tb testing.TB, opts server.Options, change []func(*server.Options)) *Server {
	tb.Helper()
	opts.NoSigs, opts.NoLog = true, true
	opts.JetStream = true
	opts.StoreDir = tb.TempDir()
	for _, f := range change {
		f(&opts)
	}
	_, bubble := bubbles.Load(tb)
	s := &Server{opts: opts, bubble: bubble}
	s.Up(tb)
	tb.Cleanup(s.Down)
	return s
}

// Up starts the server; its clients reconnect by themselves.
func (s *Server) Up(tb testing.TB) {
	tb.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		tb.Fatalf("nats-server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		tb.Fatal("nats-server: not ready after 10 s")
	}
	if len(opts.TrustedKeys) == 0 { // what its accounts see is not the server's to say otherwise
		if err := natsd.ShareAdvisories(srv); err != nil {
			tb.Fatalf("nats-server: %v", err)
		}
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		s.opts.Port = addr.Port
	}
	s.mu.Lock()
	s.srv = srv
	s.mu.Unlock()
}

// Down stops the server and waits for its end.
func (s *Server) Down() {
	s.mu.Lock()
	srv := s.srv
	s.srv = nil
	s.mu.Unlock()
	if srv != nil {
		if s.bubble {
			// The server sleeps while it holds locks as it ends. Were one of its
			// goroutines to wait for those, time would stand still for ever.
			synctest.Wait()
		}
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

var errDown = errors.New("nats-server is down")

// InProcessConn implements nats.InProcessConnProvider across restarts.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return nil, errDown
	}
	return s.srv.InProcessConn()
}

// Subscribers counts the subscriptions to exactly this subject, which tells that
// another process is listening.
func (s *Server) Subscribers(tb testing.TB, subject string) int {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return 0
	}
	list, err := s.srv.Subsz(&server.SubszOptions{Subscriptions: true, Limit: 10_000})
	if err != nil {
		tb.Fatalf("list subscriptions: %v", err)
	}
	n := 0
	for _, sub := range list.Subs {
		if sub.Subject == subject {
			n++
		}
	}
	return n
}

// URL is where a listening server is reached.
func (s *Server) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.opts.Port) }

// Connect gives a connection that is closed with the test.
func (s *Server) Connect(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	base := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}
	if s.opts.DontListen {
		base = append(base, nats.InProcessServer(s))
	}
	nc, err := nats.Connect(s.URL(), append(base, opts...)...)
	if err != nil {
		tb.Fatalf("connect to nats-server: %v", err)
	}
	tb.Cleanup(func() {
		nc.Close()
	})
	return nc
}

// JetStream gives the JetStream interface of a connection.
func JetStream(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatalf("jetstream: %v", err)
	}
	return js
}

// Streams makes every stream and bucket as the services that own them would,
// for tests of one service without the others.
func Streams(tb testing.TB, js jetstream.JetStream) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var o contracts.StreamOptions
	for _, cfg := range []jetstream.StreamConfig{
		contracts.EventStreamConfig(o), contracts.TaskStreamConfig(o), contracts.DeadStreamConfig(o),
	} {
		if _, err := js.CreateOrUpdateStream(ctx, cfg); err != nil {
			tb.Fatalf("create stream %s: %v", cfg.Name, err)
		}
	}
	if _, err := js.CreateOrUpdateKeyValue(ctx, contracts.StateBucketConfig(o)); err != nil {
		tb.Fatalf("create bucket %s: %v", contracts.StateBucket, err)
	}
}

// Messages returns what a stream has, in order.
func Messages(tb testing.TB, js jetstream.JetStream, stream string) (all []*jetstream.RawStreamMsg) {
	tb.Helper()
	s, err := js.Stream(tb.Context(), stream)
	if err != nil {
		tb.Fatal(err)
	}
	state := s.CachedInfo().State
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		switch m, err := s.GetMsg(tb.Context(), seq); {
		case err == nil:
			all = append(all, m)
		case !errors.Is(err, jetstream.ErrMsgNotFound): // one that was deleted
			tb.Fatal(err)
		}
	}
	return all
}

// Events returns the stored events, in order. Each must be one.
func Events(tb testing.TB, js jetstream.JetStream) (all []contracts.Event) {
	tb.Helper()
	for _, m := range Messages(tb, js, contracts.EventStream) {
		ev, err := contracts.DecodeEvent(m.Subject, m.Data)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, ev)
	}
	return all
}

// Truncate makes the event stream what it was after its first n messages, as a
// backup or a server that lost power has it.
func Truncate(tb testing.TB, js jetstream.JetStream, n uint64) {
	tb.Helper()
	ctx := tb.Context()
	kept := Messages(tb, js, contracts.EventStream)
	s, err := js.Stream(ctx, contracts.EventStream)
	if err == nil {
		err = js.DeleteStream(ctx, contracts.EventStream)
	}
	if err == nil {
		_, err = js.CreateStream(ctx, s.CachedInfo().Config)
	}
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range kept {
		if m.Sequence > n {
			break
		}
		if _, err := js.Publish(ctx, m.Subject, m.Data, jetstream.WithMsgID(m.Header.Get(jetstream.MsgIDHeader))); err != nil {
			tb.Fatal(err)
		}
	}
}
