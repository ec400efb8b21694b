package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// TestCommandsReachSecuredServers: by flags, by the environment, by a context
// and by the one selected. Nobody serves there, and to be told so one must have
// been let in.
func TestCommandsReachSecuredServers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	ca := natstest.NewAuthority(t)
	creds, jwt := natstest.Creds(t)
	other, _ := natstest.Creds(t)
	s := natstest.Listen(t, jwt, ca.Serve(t, false))
	text, err := json.Marshal(map[string]string{"url": s.URL(), "creds": creds, "ca": ca.File})
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "nats", "context"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "nats", "context", "good.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		args     []string
		env      map[string]string
		selected string
		want     string
	}{
		{name: "flags", args: []string{"--server", s.URL(), "--creds", creds, "--tlsca", ca.File}},
		{name: "environment", env: map[string]string{"NATS_URL": s.URL(), "NATS_CREDS": creds, "NATS_CA": ca.File}},
		{name: "context", args: []string{"--context", "good"}},
		{name: "context in the environment", env: map[string]string{"NATS_CONTEXT": "good"}},
		{name: "selected context", selected: "good"},
		{name: "wrong credentials", args: []string{"--context", "good", "--creds", other}, want: "smith: NATS server " + s.URL() + " refused the credentials: "},
		{name: "no authority", args: []string{"--server", s.URL(), "--creds", creds}, want: "smith: NATS server " + s.URL() + " has a certificate that is not trusted: "},
		{name: "another server than the selected one's", selected: "good", args: []string{"--server", s.URL(), "--tlsca", ca.File}, want: "smith: NATS server " + s.URL() + " refused the credentials: "},
		{name: "no such context", args: []string{"--context", "bad"}, want: `smith: NATS context "bad": `},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			if err := os.WriteFile(filepath.Join(dir, "nats", "context.txt"), []byte(c.selected), 0o600); err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == "" {
				want = "smith: nobody answers on smith.router.status; "
			}
			var out, errOut bytes.Buffer
			code := run(append([]string{"task", "status", "t1"}, c.args...), &out, &errOut)
			if code != 1 || !strings.HasPrefix(errOut.String(), want) || strings.Count(errOut.String(), "\n") != 1 {
				t.Errorf("exit code %d, want %q in:\n%s%s", code, want, out.String(), errOut.String())
			}
		})
	}
}
