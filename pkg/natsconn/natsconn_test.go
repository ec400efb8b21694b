package natsconn

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// TestRefusals are those of real servers.
func TestRefusals(t *testing.T) {
	ca, other := natstest.NewAuthority(t), natstest.NewAuthority(t)
	cert, key := other.Certificate(t, x509.ExtKeyUsageClientAuth)
	_, jwt := natstest.Creds(t)
	creds, _ := natstest.Creds(t)
	trusted := nats.RootCAs(ca.File)
	for name, c := range map[string]struct {
		change func(*server.Options)
		opts   []nats.Option
		want   Refusal
	}{
		"none":              {change: func(*server.Options) {}},
		"user":              {func(o *server.Options) { o.Username, o.Password = "u", "p" }, []nats.Option{nats.UserInfo("u", "q")}, Credentials},
		"credentials":       {jwt, []nats.Option{nats.UserCredentials(creds)}, Credentials},
		"unknown authority": {ca.Serve(t, false), nil, ServerCertificate},
		"wrong authority":   {ca.Serve(t, false), []nats.Option{nats.RootCAs(other.File)}, ServerCertificate},
		"no certificate":    {ca.Serve(t, true), []nats.Option{trusted}, ClientCertificate},
		"wrong certificate": {ca.Serve(t, true), []nats.Option{trusted, nats.ClientCert(cert, key)}, ClientCertificate},
		"TLS where is none": {func(*server.Options) {}, []nats.Option{trusted}, NoTLS},
	} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Listen(t, c.change)
			nc, err := nats.Connect(s.URL(), c.opts...)
			if err == nil {
				defer nc.Close()
			}
			if got := RefusalOf(err); got != c.want || (err == nil) != (c.want == NotRefused) {
				t.Errorf("%v is refusal %d, want %d", err, got, c.want)
			}
		})
	}
	for _, passing := range []error{nil, nats.ErrNoServers, nats.ErrTimeout, errors.New("EOF")} {
		if RefusalOf(passing) != NotRefused {
			t.Errorf("%v counts as a refusal", passing)
		}
	}
}

func TestCheckOptions(t *testing.T) {
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca := natstest.NewAuthority(t)
	cert, key := ca.Certificate(t, x509.ExtKeyUsageClientAuth)
	creds, _ := natstest.Creds(t)
	for name, c := range map[string]struct {
		opt nats.Option
		bad bool
	}{
		"authority":      {opt: nats.RootCAs(ca.File)},
		"certificate":    {opt: nats.ClientCert(cert, key)},
		"credentials":    {opt: nats.UserCredentials(creds)},
		"no authority":   {opt: nats.RootCAs(words), bad: true},
		"no certificate": {opt: nats.ClientCert(words, key), bad: true},
		"no credentials": {opt: nats.UserCredentials(words), bad: true},
		"no file":        {opt: nats.UserCredentials(words + "2"), bad: true},
	} {
		if err := CheckOptions([]nats.Option{nats.Name("x"), c.opt}); (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}
