package natsconn

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrURL tells that URLs of NATS servers cannot be read.
var ErrURL = errors.New("invalid server URL")

// hiddenURL stands for a URL of which nobody can say what in it is a secret.
const hiddenURL = "(hidden URL)"

// CheckURLs reports which of the NATS server URLs, separated by commas,
// cannot be read, or nil. Unlike errors of net/url, what it says repeats nothing
// of them: they may hold a password, and a character in it may be what is wrong.
func CheckURLs(servers string) error {
	all := strings.Split(servers, ",")
	for i, s := range all {
		if redactServer(s) == hiddenURL {
			return fmt.Errorf("%w: number %d of %d cannot be read; write nats://USER:PASSWORD@HOST:PORT with special characters "+
				"of USER and PASSWORD percent-encoded (/ is %%2F, # is %%23, comma is %%2C)", ErrURL, i+1, len(all))
		}
	}
	return nil
}

// Redact gives NATS server URLs, separated by commas, as they may be
// logged: scheme, host and port. User, password and token become "***".
func Redact(servers string) string {
	all := strings.Split(servers, ",")
	shown := make([]string, len(all))
	for i, s := range all {
		shown[i] = redactServer(s)
	}
	// A comma in a password cuts the URL in two, and its first half passes for
	// another server's.
	for i := len(all) - 1; i > 0; i-- {
		if strings.Contains(all[i], "@") && !strings.Contains(all[i], "://") || shown[i] == hiddenURL {
			shown[i-1] = hiddenURL
		}
	}
	return strings.Join(shown, ",")
}

// redactServer understands a URL as the NATS client does, for which one without
// a host is this machine.
func redactServer(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	full, bare := s, !strings.Contains(s, "://")
	if bare {
		full = "nats://" + s
	}
	u, err := url.Parse(full)
	if err != nil {
		return hiddenURL
	}
	// A '/', '?' or '#' in a password ends what is parsed as user and host.
	_, rest, _ := strings.Cut(full, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 && strings.Contains(rest[end:], "@") {
		return hiddenURL
	}
	shown := u.Host
	if u.User != nil {
		shown = "***@" + shown
	}
	if !bare {
		shown = u.Scheme + "://" + shown
	}
	return shown
}
