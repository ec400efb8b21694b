package shell_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
)

// attempt is a try to connect and what shall come of it: without an error a
// connection, and else one whose message has all of says, at once.
type attempt struct {
	name  string
	flags shell.NATSFlags
	says  []string
}

func (a attempt) run(t *testing.T) {
	t.Helper()
	var logged bytes.Buffer
	begin := time.Now()
	nc, err := a.flags.Connect(t.Context(), "test", slog.New(slog.NewTextHandler(&logged, nil)))
	if err == nil {
		defer nc.Close()
		_, err = shell.JetStream(t.Context(), nc)
	}
	if len(a.says) == 0 {
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
		return
	}
	if err == nil {
		t.Errorf("%s: connected", a.name)
		return
	}
	for _, word := range a.says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v; want %q in it", a.name, err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") || logged.Len() > 0 {
		t.Errorf("%s: more than one message: %v\n%s", a.name, err, logged.String())
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("%s: it took %s to find out what does not heal", a.name, took)
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTLS(t *testing.T) {
	ca, other := natstest.NewAuthority(t), natstest.NewAuthority(t)
	noPEM := writeFile(t, "no.pem", "words")
	s := natstest.Listen(t, ca.Serve(t, false))
	for _, a := range []attempt{
		{"trusted", shell.NATSFlags{Server: s.URL(), TLSCA: ca.File}, nil},
		{"not trusted", shell.NATSFlags{Server: s.URL()}, []string{s.URL(), "certificate", "--tlsca"}},
		{"other authority", shell.NATSFlags{Server: s.URL(), TLSCA: other.File}, []string{s.URL(), "certificate", "--tlsca"}},
		{"other name", shell.NATSFlags{Server: strings.Replace(s.URL(), "127.0.0.1", "localhost", 1), TLSCA: ca.File}, []string{"certificate", "localhost"}},
		{"no certificate", shell.NATSFlags{Server: s.URL(), TLSCA: noPEM}, []string{noPEM, "--tlsca"}},
	} {
		a.run(t)
	}
}

func TestTLSWithClientCertificates(t *testing.T) {
	ca, other := natstest.NewAuthority(t), natstest.NewAuthority(t)
	cert, key := ca.Certificate(t, x509.ExtKeyUsageClientAuth)
	wrongCert, wrongKey := other.Certificate(t, x509.ExtKeyUsageClientAuth)
	s := natstest.Listen(t, ca.Serve(t, true), func(o *server.Options) { o.TLSHandshakeFirst = true })
	flags := shell.NATSFlags{Server: s.URL(), TLSCA: ca.File, TLSFirst: true}
	with := func(cert, key string) shell.NATSFlags {
		f := flags
		f.TLSCert, f.TLSKey = cert, key
		return f
	}
	for _, a := range []attempt{
		{"right", with(cert, key), nil},
		{"none", flags, []string{"certificate", "--tlscert"}},
		{"of another authority", with(wrongCert, wrongKey), []string{"certificate", "--tlscert"}},
		{"key of another", with(cert, wrongKey), []string{"private key", "--tlskey"}},
	} {
		a.run(t)
	}
}

func TestTLSWhereThereIsNone(t *testing.T) {
	s := natstest.Listen(t)
	attempt{"no TLS", shell.NATSFlags{Server: s.URL(), TLSCA: natstest.NewAuthority(t).File}, []string{s.URL(), "TLS", "--tlsca"}}.run(t)
}

func TestNKey(t *testing.T) {
	seed, change := natstest.NKey(t)
	other, _ := natstest.NKey(t)
	noKey := writeFile(t, "no.nk", "SUwords")
	s := natstest.Listen(t, change)
	for _, a := range []attempt{
		{"right", shell.NATSFlags{Server: s.URL(), NKey: seed}, nil},
		{"other", shell.NATSFlags{Server: s.URL(), NKey: other}, []string{"refused the credentials", "--nkey"}},
		{"none", shell.NATSFlags{Server: s.URL()}, []string{"refused the credentials", "--nkey"}},
		{"no key", shell.NATSFlags{Server: s.URL(), NKey: noKey}, []string{"--nkey"}},
	} {
		a.run(t)
	}
}

func TestCreds(t *testing.T) {
	creds, change := natstest.Creds(t)
	other, _ := natstest.Creds(t)
	noCreds := writeFile(t, "no.creds", "words")
	s := natstest.Listen(t, change)
	for _, a := range []attempt{
		{"right", shell.NATSFlags{Server: s.URL(), Creds: creds}, nil},
		{"other", shell.NATSFlags{Server: s.URL(), Creds: other}, []string{"refused the credentials", "--creds"}},
		{"no credentials", shell.NATSFlags{Server: s.URL(), Creds: noCreds}, []string{"--creds"}},
	} {
		a.run(t)
	}
}

// TestUser: without a password the user is a token.
func TestUser(t *testing.T) {
	s := natstest.Listen(t, func(o *server.Options) { o.Authorization = "t0ken" })
	for _, a := range []attempt{
		{"right", shell.NATSFlags{Server: s.URL(), User: "t0ken"}, nil},
		{"wrong", shell.NATSFlags{Server: s.URL(), User: "other"}, []string{"refused the credentials", "--user"}},
	} {
		a.run(t)
	}
}

func TestUserAndPassword(t *testing.T) {
	s := natstest.Listen(t, func(o *server.Options) { o.Username, o.Password = "u", "p" })
	for _, a := range []attempt{
		{"right", shell.NATSFlags{Server: s.URL(), User: "u", Password: "p"}, nil},
		{"wrong", shell.NATSFlags{Server: s.URL(), User: "u", Password: "q"}, []string{"refused the credentials", "--user"}},
	} {
		a.run(t)
	}
}

// saveContext writes a context as `nats context save` does.
func saveContext(t *testing.T, dir, name string, fields map[string]string) {
	t.Helper()
	text, err := json.Marshal(fields)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "nats", "context"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "nats", "context", name+".json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestContext: a saved context brings server and credentials; a flag beside it
// counts more; and commands use the one selected when no other is meant.
func TestContext(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	creds, jwt := natstest.Creds(t)
	other, _ := natstest.Creds(t)
	ca := natstest.NewAuthority(t)
	s := natstest.Listen(t, jwt, ca.Serve(t, false))
	saveContext(t, dir, "good", map[string]string{"url": s.URL(), "creds": creds, "ca": ca.File})
	saveContext(t, dir, "bad", map[string]string{"url": s.URL(), "creds": other, "ca": ca.File})
	for _, a := range []attempt{
		{"by name", shell.NATSFlags{Context: "good"}, nil},
		{"wrong ones", shell.NATSFlags{Context: "bad"}, []string{"refused the credentials", "the context"}},
		{"corrected by a flag", shell.NATSFlags{Context: "bad", Creds: creds}, nil},
		{"server by a flag", shell.NATSFlags{Context: "good", Server: "nats://x:y:z"}, []string{"--server"}},
		{"not there", shell.NATSFlags{Context: "none"}, []string{`"none"`, "nats context ls"}},
	} {
		a.run(t)
	}

	here := shell.NATSFlags{Server: s.URL(), TLSCA: ca.File, Creds: creds}
	selected := func(f shell.NATSFlags) shell.NATSFlags {
		f.Selected = true
		return f
	}
	if servers, _, err := selected(shell.NATSFlags{}).Options(); err != nil || servers != shell.DefaultServer {
		t.Errorf("with none selected: %q, %v", servers, err)
	}
	file := filepath.Join(dir, "nats", "context.txt")
	choose := func(name string) {
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	choose("good")
	attempt{"the selected one", selected(shell.NATSFlags{}), nil}.run(t)
	attempt{"another", selected(shell.NATSFlags{Context: "bad"}), []string{"refused the credentials"}}.run(t)
	attempt{"with a flag", selected(shell.NATSFlags{Creds: other}), []string{"refused the credentials"}}.run(t)
	if servers, _, err := (shell.NATSFlags{}).Options(); err != nil || servers != shell.DefaultServer {
		t.Errorf("a service took the selected context: %q, %v", servers, err)
	}
	choose("bad")
	attempt{"a server is meant", selected(here), nil}.run(t)
	choose("gone")
	attempt{"selected, but not there", selected(shell.NATSFlags{}), []string{`"gone"`, "nats context ls"}}.run(t)
}

// TestUserBesideAContext: a user named by a flag takes the place of the context's
// user, with its password.
func TestUserBesideAContext(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	s := natstest.Listen(t, func(o *server.Options) { o.Username, o.Password = "bob", "p" })
	saveContext(t, dir, "alice", map[string]string{"url": s.URL(), "user": "alice", "password": "p"})
	saveContext(t, dir, "password", map[string]string{"url": s.URL(), "password": "p"})
	for _, a := range []attempt{
		{"the context's", shell.NATSFlags{Context: "alice"}, []string{"refused the credentials"}},
		{"another user", shell.NATSFlags{Context: "alice", User: "bob"}, nil},
		{"another user and password", shell.NATSFlags{Context: "alice", User: "bob", Password: "q"}, []string{"refused the credentials"}},
		{"user for a password", shell.NATSFlags{Context: "password", User: "bob"}, nil},
	} {
		a.run(t)
	}
}

// TestTokenBesideAContext: where the context has neither, it is a token.
func TestTokenBesideAContext(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	s := natstest.Listen(t, func(o *server.Options) { o.Authorization = "t0ken" })
	saveContext(t, dir, "neither", map[string]string{"url": s.URL()})
	saveContext(t, dir, "other", map[string]string{"url": s.URL(), "token": "other"})
	for _, a := range []attempt{
		{"token", shell.NATSFlags{Context: "neither", User: "t0ken"}, nil},
		{"another token", shell.NATSFlags{Context: "other", User: "t0ken"}, nil},
	} {
		a.run(t)
	}
}

// TestProgramsReachSecuredServers: a service takes the same flags and variables
// as a command, except for the selected context.
func TestProgramsReachSecuredServers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	ca := natstest.NewAuthority(t)
	creds, jwt := natstest.Creds(t)
	other, _ := natstest.Creds(t)
	s := natstest.Listen(t, jwt, ca.Serve(t, false))
	saveContext(t, dir, "good", map[string]string{"url": s.URL(), "creds": creds, "ca": ca.File})
	for _, c := range []struct {
		args []string
		env  map[string]string
		says string
	}{
		{args: []string{"--server", s.URL(), "--creds", creds, "--tlsca", ca.File}},
		{env: map[string]string{"NATS_URL": s.URL(), "NATS_CREDS": creds, "NATS_CA": ca.File}},
		{args: []string{"--context", "good"}},
		{args: []string{"--context", "good", "--creds", other}, says: "refused the credentials"},
		{args: []string{"--server", s.URL(), "--creds", creds}, says: "certificate that is not trusted"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			served := false
			program := shell.Program{
				Service: "router", Description: "test",
				Run: func(_ context.Context, env shell.Env, _ *config.File) error {
					served = env.NC.IsConnected()
					return nil
				},
			}
			var out, errOut bytes.Buffer
			code := program.Main(append(c.args, "--http", ""), &out, &errOut)
			if served != (c.says == "") || served != (code == 0) || !strings.Contains(errOut.String(), c.says) {
				t.Errorf("exit code %d, served %v:\n%s", code, served, errOut.String())
			}
		})
	}
}
