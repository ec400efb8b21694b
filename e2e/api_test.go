package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

var natsRequest = regexp.MustCompile(`^nats req (\S+) '(.*)'( --replies \d+)?$`)

// TestAPIPage sends every request of docs/api.md to smith up; each is answered,
// and not by an error. Every verb that there is is on the page.
func TestAPIPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := strings.NewReplacer("WORKER", bin("worker"), "RECORDS", filepath.Join(dir, "records")).Replace(upConfig) + `
    - name: spare
      strategy: one_for_one
`
	_, url := up(t, filepath.Join(dir, "store"), config)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ask := func(subject, body string) *nats.Msg {
		t.Helper()
		reply, err := nc.Request(subject, []byte(body), 40*time.Second)
		if err != nil {
			t.Fatalf("%s %s: %v", subject, body, err)
		}
		return reply
	}
	eventually(t, 20*time.Second, "the agents to run and be heard", func() bool {
		return strings.Count(string(ask("smith.supervisor.tree", "{}").Data), `"status":"running"`) >= 4 &&
			strings.Count(string(ask("smith.detector.agents", `{"health":"healthy"}`).Data), `"agent":"crawler-`) == 2
	})
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "nats req ") {
			continue
		}
		m := natsRequest.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s: not of the form nats req SUBJECT 'BODY'", line)
			continue
		}
		asked++
		body := strings.ReplaceAll(m[2], "EVENT", someEvent(t, ask))
		reply := ask(m[1], body)
		if strings.Contains(string(reply.Data), `"warning"`) {
			t.Fatalf("%s: %s", line, reply.Data) // what comes next builds on it
		}
		if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
			t.Errorf("%s: %s %s", line, code, reply.Header.Get("Nats-Service-Error"))
		}
	}
	if asked < 30 {
		t.Errorf("only %d requests found", asked)
	}
	verbs := regexp.MustCompile("`(smith\\.(?:detector|supervisor|router|eventstore)\\.[a-z]+)`")
	schemas, err := os.ReadFile("../docs/schema/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range verbs.FindAllStringSubmatch(string(schemas), -1) {
		if !strings.Contains(string(page), m[1]) {
			t.Errorf("%s is not on the page", m[1])
		}
	}
}

// someEvent is the id of an event that is stored.
func someEvent(t *testing.T, ask func(subject, body string) *nats.Msg) string {
	t.Helper()
	var id string
	eventually(t, 10*time.Second, "an event to be indexed", func() bool {
		_, after, _ := strings.Cut(string(ask("smith.eventstore.query", `{"limit":1}`).Data), `"id":"`)
		id, _, _ = strings.Cut(after, `"`)
		return contracts.ValidateID(id) == nil
	})
	return id
}
