package natsconn

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct {
		servers, want string
		bad           bool
	}{
		{servers: "", want: ""},
		{servers: "nats://h:4222", want: "nats://h:4222"},
		{servers: "h:4222, tls://[::1]:4223", want: "h:4222,tls://[::1]:4223"},
		{servers: "wss://h/path?secret", want: "wss://h"},
		{servers: "nats://u:secret@h:4222", want: "nats://***@h:4222"},
		{servers: "u:secret@h:4222", want: "***@h:4222"},
		{servers: "nats://secret@h", want: "nats://***@h"},
		{servers: "secret@h", want: "***@h"},
		{servers: "nats://u:sec@secret@h", want: "nats://***@h"},
		{servers: "nats://u:s%65cret%40secret@h", want: "nats://***@h"},
		{servers: "nats://a:1,nats://u:secret@b:2,nats://secret@c:3", want: "nats://a:1,nats://***@b:2,nats://***@c:3"},
		// Without a host it is this machine.
		{servers: "nats://:4222", want: "nats://:4222"},
		{servers: ":4222", want: ":4222"},
		{servers: "nats://", want: "nats://"},
		{servers: "nats://u:secret@:4222", want: "nats://***@:4222"},
		{servers: "u:secret@:4222,:4223", want: "***@:4222,:4223"},
		{servers: "nats://:1,secret@h", want: hiddenURL + ",***@h"},
		{servers: "nats://:secret", want: hiddenURL, bad: true},
		{servers: "nats:///secret@h", want: hiddenURL, bad: true},
		// Not readable, or not as it was meant.
		{servers: "nats://u:%secret@h", want: hiddenURL, bad: true},
		{servers: "nats://u:secret/x@h", want: hiddenURL, bad: true},
		{servers: "nats://u:4222/secret@h", want: hiddenURL, bad: true},
		{servers: "nats://u:4222#secret@h", want: hiddenURL, bad: true},
		{servers: "nats://u:4222?secret@h", want: hiddenURL, bad: true},
		{servers: "nats://u:secret,x@h", want: hiddenURL + ",***@h", bad: true},
		{servers: "nats://u:1,x@h", want: hiddenURL + ",***@h"},
		{servers: "nats://u:1,2,x@h", want: hiddenURL + "," + hiddenURL + ",***@h"},
		{servers: "u:secret@a,u:secret@b", want: hiddenURL + ",***@b"},
		{servers: "nats://h:1,nats://u:secret x@h", want: hiddenURL + "," + hiddenURL, bad: true},
		{servers: "://secret", want: hiddenURL, bad: true},
	} {
		if got := Redact(c.servers); got != c.want {
			t.Errorf("Redact(%q) = %q, want %q", c.servers, got, c.want)
		}
		err := CheckURLs(c.servers)
		if (err != nil) != c.bad || err != nil && (!errors.Is(err, ErrURL) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("CheckURLs(%q) = %v", c.servers, err)
		}
	}
}

// FuzzRedact: no user and no password of a URL that can be read is shown,
// nor of one that cannot.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{"hunter2", "a@b", "a/b", "a,b", "%zz", "%40", "a#b", "x y", "://", "1,2", "["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		// What is looked for cannot be in the URL for another reason.
		marked := "QQ" + secret + "QQ"
		for _, servers := range []string{
			"nats://u:" + marked + "@h:1", "nats://" + marked + "@h:1", "u:" + marked + "@h:1",
			"nats://u:" + url.QueryEscape(marked) + "@h:1", "nats://a:1,nats://u:" + marked + "@h:1,nats://b:1",
		} {
			said := Redact(servers)
			if err := CheckURLs(servers); err != nil {
				said += err.Error()
			}
			if strings.Contains(said, "QQ") {
				t.Errorf("%q shows as %q", servers, said)
			}
		}
	})
}
