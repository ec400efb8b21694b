// Package natsconn is what all who connect to NATS have in common: URLs are shown
// without their secrets, options are tried before any server is, and a server
// that refuses is told from one that is not there.
package natsconn

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// CheckOptions finds out before any connecting whether the keys, credentials and
// certificates that options name can be read: waiting for a server would not
// mend them.
func CheckOptions(opts []nats.Option) error {
	all := nats.GetDefaultOptions()
	for _, opt := range opts {
		if err := opt(&all); err != nil {
			return err
		}
	}
	if all.UserJWT != nil {
		if _, err := all.UserJWT(); err != nil {
			return err
		}
	}
	if all.SignatureCB != nil {
		if _, err := all.SignatureCB([]byte("nonce")); err != nil {
			return err
		}
	}
	return nil
}

// Refusal is why a server that is there will not be connected to, however often
// that is tried.
type Refusal int

const (
	// NotRefused is for all other errors, which may pass.
	NotRefused Refusal = iota
	// Credentials are not those of a user.
	Credentials
	// ServerCertificate is not trusted, or for another name.
	ServerCertificate
	// ClientCertificate is wanting or not trusted. A server that ends in this
	// moment looks the same: only the second time in a row it is sure.
	ClientCertificate
	// NoTLS is what the server has, and the options want it.
	NoTLS
)

// RefusalOf reads an error of nats.Connect.
func RefusalOf(err error) Refusal {
	if err == nil {
		return NotRefused
	}
	for _, is := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked} {
		if errors.Is(err, is) {
			return Credentials
		}
	}
	var untrusted *tls.CertificateVerificationError
	switch {
	case strings.Contains(err.Error(), "Authorization"):
		return Credentials
	case errors.As(err, &untrusted):
		return ServerCertificate
	// The type of the one is crypto/tls's own. The other is what is seen of it
	// when the server has closed before it is read.
	case strings.Contains(err.Error(), "remote error: tls: "), strings.Contains(err.Error(), "closed by remote after TLS handshake"):
		return ClientCertificate
	case errors.Is(err, nats.ErrSecureConnWanted):
		return NoTLS
	}
	return NotRefused
}
