package shell_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) {
	if os.Getenv(programMode) != "" {
		os.Exit(program().Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	natstest.Isolate()
	natstest.Main(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newEnv(t *testing.T, s *natstest.Server, service string) shell.Env {
	t.Helper()
	env, err := shell.NewEnv(t.Context(), service, service+"-1", s.Connect(t), quiet(), prometheus.NewRegistry(), shell.NewHealth(service))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// withStreams starts a server that has all streams, for one service.
func withStreams(t *testing.T, service string) (*natstest.Server, shell.Env) {
	t.Helper()
	s := natstest.Start(t)
	natstest.Streams(t, natstest.JetStream(t, s.Connect(t)))
	return s, newEnv(t, s, service)
}

// types lists the types of the stored events, in order.
func types(t *testing.T, s *natstest.Server) []string {
	t.Helper()
	var got []string
	for _, ev := range stored(t, s) {
		got = append(got, string(ev.Type))
	}
	return got
}

// stored lists the stored events, in order.
func stored(t *testing.T, s *natstest.Server) []contracts.Event {
	t.Helper()
	return natstest.Events(t, natstest.JetStream(t, s.Connect(t)))
}

func TestRunPublishesLifecycle(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, env := withStreams(t, "detector")
		runFor(t, s, env, time.Minute)
	})
}

// TestStartedIsToldOnceThereIsAStream: a runner serves without one.
func TestStartedIsToldOnceThereIsAStream(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		env := newEnv(t, s, "runner")
		time.AfterFunc(time.Minute, func() { natstest.Streams(t, env.JS) })
		runFor(t, s, env, 2*time.Minute)
	})
}

// runFor runs a service for a while and checks what that stored.
func runFor(t *testing.T, s *natstest.Server, env shell.Env, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(d, cancel)
	err := shell.Run(ctx, env, func(ctx context.Context, env shell.Env) error {
		env.Ready()
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"smith.system.started", "smith.system.stopping", "smith.system.stopped"}
	if diff := cmp.Diff(want, types(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestPublishEventTwiceIsStoredOnce(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		_, env := withStreams(t, "router")
		ev, err := env.Event(contracts.CustomEventType("hello"), "x").Build()
		if err != nil {
			t.Fatal(err)
		}
		first, err := shell.PublishEvent(t.Context(), env.JS, ev)
		if err != nil {
			t.Fatal(err)
		}
		second, err := shell.PublishEvent(t.Context(), env.JS, ev)
		if err != nil || first != second {
			t.Fatalf("sequences %d and %d, %v", first, second, err)
		}
	})
}

func TestWaitStreamAndBucket(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		env := newEnv(t, s, "router")
		js := natstest.JetStream(t, s.Connect(t))
		time.AfterFunc(time.Minute, func() { natstest.Streams(t, js) })
		begin := time.Now()
		if _, err := shell.WaitStream(t.Context(), env, contracts.EventStream, "eventstore"); err != nil {
			t.Fatal(err)
		}
		if _, err := shell.WaitBucket(t.Context(), env, contracts.StateBucket, "eventstore"); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited < time.Minute || waited > 63*time.Second {
			t.Errorf("waited %s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := shell.WaitStream(ctx, env, "NONE", "nobody"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a stream nobody makes: %v", err)
		}
	})
}

// TestJetStreamIsAskedAgain loses the first question on its way to the server.
func TestJetStreamIsAskedAgain(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		wire := &lossy{server: s, lose: []byte("PUB $JS.API.INFO ")}
		js, err := shell.JetStream(t.Context(), s.Connect(t, nats.InProcessServer(wire)))
		if err != nil || !wire.lost {
			t.Fatalf("lost %v: %v", wire.lost, err)
		}
		if _, err := js.AccountInfo(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// lossy is a connection to the server that loses the first message which begins
// in a certain way and has no body.
type lossy struct {
	net.Conn
	server *natstest.Server
	lose   []byte
	lost   bool
}

// InProcessConn implements nats.InProcessConnProvider.
func (l *lossy) InProcessConn() (net.Conn, error) {
	conn, err := l.server.InProcessConn()
	l.Conn = conn
	return l, err
}

func (l *lossy) Write(p []byte) (int, error) {
	before, rest, found := bytes.Cut(p, l.lose)
	if !found || l.lost {
		return l.Conn.Write(p)
	}
	l.lost = true
	_, after, _ := bytes.Cut(rest, []byte("\r\n\r\n"))
	_, err := l.Conn.Write(append(bytes.Clone(before), after...))
	return len(p), err
}

func TestWithoutJetStream(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t, func(o *server.Options) { o.JetStream = false })
		_, err := shell.JetStream(t.Context(), s.Connect(t))
		if err == nil || !strings.Contains(err.Error(), "nats-server -js") {
			t.Errorf("got %v, want the remedy named", err)
		}
	})
}

func TestRejects(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		js := natstest.JetStream(t, s.Connect(t))
		natstest.Streams(t, js)
		env := newEnv(t, s, "router")
		r := shell.NewRejects(env)
		bad := shell.Message{Kind: "task", Subject: "smith.task.x", Body: []byte("{"), SetAsideOn: contracts.DeadTaskSubject("x")}
		for range 50 {
			r.Reject(t.Context(), bad, errors.New("not\nJSON"))
		}
		<-time.After(11 * time.Second)
		r.Reject(t.Context(), bad, errors.New("again"))
		if got := types(t, s); len(got) != 2 {
			t.Errorf("%d reports, want 2 for a flood", len(got))
		}
		dead, err := js.Stream(t.Context(), contracts.DeadStream)
		if err != nil {
			t.Fatal(err)
		}
		if n := dead.CachedInfo().State.Msgs; n != 51 {
			t.Errorf("%d set aside, want 51", n)
		}
		msg, err := dead.GetLastMsgForSubject(t.Context(), "smith.dead.task.x")
		if err != nil || string(msg.Data) != "{" || msg.Header.Get("Smith-Origin") != "smith.task.x" {
			t.Errorf("set aside: %+v, %v", msg, err)
		}
	})
}

func TestTeardownRunsEveryStepInReverse(t *testing.T) {
	var order []string
	var td shell.Teardown
	td.Add("first", time.Second, func(context.Context) error { order = append(order, "first"); return nil })
	td.Add("stuck", 500*time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	td.Add("unbounded", shell.Unbounded, func(ctx context.Context) error {
		order = append(order, "unbounded")
		return ctx.Err()
	})
	td.Add("broken", time.Second, func(context.Context) error { order = append(order, "broken"); return errors.New("boom") })
	err := td.Run(quiet())
	if diff := cmp.Diff([]string{"broken", "unbounded", "first"}, order); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{`"broken": boom`, `"stuck": context deadline`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
	if td.Run(quiet()) != nil {
		t.Error("a second run did something")
	}
}

func TestHTTP(t *testing.T) {
	h := shell.NewHealth("a", "b")
	h.Ready("a")
	web, err := shell.ListenHTTP("127.0.0.1:0", h, shell.NewMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close(t.Context())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://" + web.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("healthz %d", code)
	}
	if code, body := get("/readyz"); code != 503 || body != "{\"a\":true,\"b\":false}\n" {
		t.Errorf("readyz %d %s", code, body)
	}
	h.Ready("b")
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("readyz %d once ready", code)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics %d", code)
	}
	if _, err := shell.ListenHTTP(web.Addr(), h, shell.NewMetrics()); err == nil || !strings.Contains(err.Error(), "--http") {
		t.Errorf("a taken port: %v", err)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := shell.NewLogger(&out, "info", "auto")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("x", "agent", "a")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["agent"] != "a" {
		t.Errorf("not a terminal: %s", out.String())
	}
	for _, bad := range [][2]string{{"loud", "auto"}, {"info", "xml"}} {
		if _, err := shell.NewLogger(&out, bad[0], bad[1]); err == nil {
			t.Errorf("%v accepted", bad)
		}
	}
}

func TestConnectErrors(t *testing.T) {
	_, err := shell.NATSFlags{Server: "nats://user:secret@127.0.0.1:1", Timeout: 500 * time.Millisecond}.Connect(t.Context(), "x", quiet())
	if !errors.Is(err, nats.ErrNoServers) || !strings.Contains(err.Error(), "smith up") || strings.Contains(err.Error(), "secret") {
		t.Errorf("unreachable: %v", err)
	}
	_, err = shell.NATSFlags{Context: "no-such-context"}.Connect(t.Context(), "x", quiet())
	if err == nil || !strings.Contains(err.Error(), "nats context ls") {
		t.Errorf("unknown context: %v", err)
	}
	for flag, f := range map[string]shell.NATSFlags{
		"--creds": {Creds: "/no/such/file"}, "--nkey": {NKey: "/no/such/file"}, "--tlscert": {TLSCert: "/no/such/file"},
		"--tlskey": {TLSKey: "/no/such/file"}, "--tlsca": {TLSCA: "/no/such/file"},
	} {
		if _, err := f.Connect(t.Context(), "x", quiet()); err == nil || !strings.HasPrefix(err.Error(), flag+": open /no/such/file") {
			t.Errorf("%s without its file: %v", flag, err)
		}
	}
	s := natstest.Listen(t, func(o *server.Options) { o.Username, o.Password = "u", "p" })
	_, err = shell.NATSFlags{Server: s.URL(), User: "u", Password: "wrong", Timeout: time.Second}.Connect(t.Context(), "x", quiet())
	if !errors.Is(err, nats.ErrAuthorization) || !strings.Contains(err.Error(), "--creds") {
		t.Errorf("wrong password: %v", err)
	}
	nc, err := shell.NATSFlags{Server: s.URL(), User: "u", Password: "p", Timeout: time.Second}.Connect(t.Context(), "x", quiet())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestProgramUsage(t *testing.T) {
	p := shell.Program{Service: "detector", Description: "finds the dead", Examples: []string{"detector --config some.yaml"}, HTTP: "", Run: func(context.Context, shell.Env, *config.File) error { return nil }}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, shell.ExitOK, "finds the dead"},
		{[]string{"--help"}, shell.ExitOK, "detector --config some.yaml"},
		{[]string{"--instance", "a.b"}, shell.ExitUsage, `--instance: invalid id: "a.b"`},
		{[]string{"--nope"}, shell.ExitUsage, "--help"},
		{[]string{"--log-level", "loud"}, shell.ExitUsage, "debug"},
		{[]string{"--config", "/no/such/file"}, shell.ExitUsage, "/no/such/file"},
		{[]string{"--server", "nats://127.0.0.1:1", "--timeout", "5s", "--http", ""}, shell.ExitFailed, "no NATS server answers"},
	} {
		var out bytes.Buffer
		if code := p.Main(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: code %d, want %d with %q in:\n%s", c.args, code, c.code, c.want, out.String())
		}
	}
}
