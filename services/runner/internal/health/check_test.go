package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/broken", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/stuck":
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	as := As{Dir: dir, Env: []string{"PATH=/usr/bin:/bin", "WELL=yes"}}
	sh := func(script string) contracts.HealthSpec {
		return contracts.HealthSpec{Command: []string{"sh", "-c", script}}
	}
	for name, tt := range map[string]struct {
		spec contracts.HealthSpec
		want string // empty: well
	}{
		"command":                     {spec: sh(`[ "$WELL" = yes ] && [ "$PWD" = ` + dir + ` ]`)},
		"command that fails":          {spec: sh("echo; printf 'queue \\033[31mfull\\n'; echo more; exit 3"), want: "command sh: exit status 3: queue [31mfull"},
		"command that floods":         {spec: sh("head -c 10000000 /dev/zero; exit 1"), want: "command sh: exit status 1"},
		"command that is killed":      {spec: sh("kill -9 $$"), want: "command sh: signal: killed"},
		"command that hangs":          {spec: sh("sleep 1000"), want: "command sh gave no answer within 300ms"},
		"command that is not there":   {spec: contracts.HealthSpec{Command: []string{"nowhere"}}, want: `program "nowhere": not found in the agent's PATH "/usr/bin:/bin"`},
		"command that leaves a child": {spec: sh("sleep 2 & exit 0")},
		"http":                        {spec: contracts.HealthSpec{HTTP: server.URL + "/well"}},
		"http that redirects":         {spec: contracts.HealthSpec{HTTP: server.URL + "/moved"}},
		"http that fails":             {spec: contracts.HealthSpec{HTTP: server.URL + "/broken"}, want: "GET " + server.URL + "/broken: 503 Service Unavailable"},
		"http that hangs":             {spec: contracts.HealthSpec{HTTP: server.URL + "/stuck"}, want: "GET " + server.URL + "/stuck gave no answer within 300ms"},
		"http of nobody":              {spec: contracts.HealthSpec{HTTP: "http://127.0.0.1:1/"}, want: "connection refused"},
		"tcp":                         {spec: contracts.HealthSpec{TCP: address}},
		"tcp of nobody":               {spec: contracts.HealthSpec{TCP: "127.0.0.1:1"}, want: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := tt.spec
			if spec.Timeout = contracts.Duration(time.Minute); strings.Contains(name, "hangs") {
				spec.Timeout = contracts.Duration(300 * time.Millisecond)
			}
			err := NewCheck(spec, as)(t.Context())
			if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if NewCheck(contracts.HealthSpec{MaxMemory: 1 << 30}, as) != nil {
		t.Error("there is a check of nothing")
	}
}

// A check that takes too long is killed with all of its process group.
func TestCheckLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := NewCheck(contracts.HealthSpec{
		Command: []string{"sh", "-c", "sh -c 'echo $$ > pid; exec sleep 1000'"}, Timeout: contracts.Duration(500 * time.Millisecond),
	}, As{Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := check(ctx); err == nil {
		t.Error("a check without time has passed")
	}
	if err := check(t.Context()); err == nil || errors.Is(err, ErrHost) {
		t.Errorf("%v", err)
	}
	b, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := procfs.ReadStat(pid); err == nil && s.Alive() { // it was killed this moment
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if process.WaitGone(ctx, []procfs.Stat{s}); ctx.Err() != nil {
			t.Error("it lives")
		}
	}
}
