package natstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Authority is a certificate authority that lives as long as a test.
type Authority struct {
	// File holds its certificate.
	File string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// NewAuthority makes an authority.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{key: newKey(tb)}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.File = writePEM(tb, "ca.pem", "CERTIFICATE", sign(tb, a.cert, a.cert, &a.key.PublicKey, a.key))
	return a
}

// Serve makes a server of 127.0.0.1 serve TLS only, to clients that have a
// certificate of the authority too if verify says so.
func (a *Authority) Serve(tb testing.TB, verify bool) func(*server.Options) {
	tb.Helper()
	certFile, keyFile := a.Certificate(tb, x509.ExtKeyUsageServerAuth)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.parsed(tb))
	return func(o *server.Options) {
		o.TLS, o.TLSTimeout = true, 10
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		if verify {
			o.TLSVerify, o.TLSConfig.ClientAuth, o.TLSConfig.ClientCAs = true, tls.RequireAndVerifyClientCert, pool
		}
	}
}

// Certificate makes a certificate for 127.0.0.1 and gives its files.
func (a *Authority) Certificate(tb testing.TB, usage x509.ExtKeyUsage) (certFile, keyFile string) {
	tb.Helper()
	key := newKey(tb)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return writePEM(tb, "cert.pem", "CERTIFICATE", sign(tb, cert, a.cert, &key.PublicKey, a.key)), writePEM(tb, "key.pem", "EC PRIVATE KEY", der)
}

func (a *Authority) parsed(tb testing.TB) *x509.Certificate {
	tb.Helper()
	text, err := os.ReadFile(a.File)
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, cert, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func writePEM(tb testing.TB, name, kind string, der []byte) string {
	tb.Helper()
	return writeFile(tb, name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func writeFile(tb testing.TB, name string, text []byte) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// NKey makes a user of a server that proves who he is by a key. The file holds
// its seed.
func NKey(tb testing.TB) (seedFile string, change func(*server.Options)) {
	tb.Helper()
	user, public := pair(tb, nkeys.CreateUser)
	seed, err := user.Seed()
	if err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, "user.nk", seed), func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }
}

// Creds makes a server trust an operator of whom an account has a user and may
// use JetStream. The file holds the user's credentials.
func Creds(tb testing.TB) (credsFile string, change func(*server.Options)) {
	tb.Helper()
	operator, operatorKey := pair(tb, nkeys.CreateOperator)
	account, accountKey := pair(tb, nkeys.CreateAccount)
	_, systemKey := pair(tb, nkeys.CreateAccount)
	user, userKey := pair(tb, nkeys.CreateUser)

	claims := jwt.NewAccountClaims(accountKey)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for key, claims := range map[string]*jwt.AccountClaims{accountKey: claims, systemKey: jwt.NewAccountClaims(systemKey)} {
		text, err := claims.Encode(operator)
		if err == nil {
			err = resolver.Store(key, text)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	token, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		tb.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		tb.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, "user.creds", creds), func(o *server.Options) {
		o.TrustedKeys, o.AccountResolver, o.SystemAccount = []string{operatorKey}, resolver, systemKey
	}
}

func pair(tb testing.TB, create func() (nkeys.KeyPair, error)) (keys nkeys.KeyPair, public string) {
	tb.Helper()
	keys, err := create()
	if err == nil {
		public, err = keys.PublicKey()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return keys, public
}
