package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) {
	if rate := os.Getenv(floodMode); rate != "" {
		flood(rate)
		return
	}
	natstest.Isolate()
	goleak.VerifyTestMain(m)
}

// TestEveryCommandShowsExamples: --help of whatever can be run shows how.
func TestEveryCommandShowsExamples(t *testing.T) {
	var flags cli
	parser, err := kong.New(&flags, kong.Vars{"server": "", "version": ""})
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(true)
	if len(leaves) < 15 {
		t.Fatalf("only %d commands", len(leaves))
	}
	for _, cmd := range leaves {
		path := strings.TrimPrefix(cmd.FullPath(), parser.Model.Name+" ")
		var out, errOut bytes.Buffer
		code := run(append(strings.Fields(path), "--help"), &out, &errOut)
		if code != 0 || !strings.Contains(out.String(), "Example") || !strings.Contains(out.String(), "    smith "+path) {
			t.Errorf("smith %s --help: exit code %d, no example in:\n%s%s", path, code, out.String(), errOut.String())
		}
	}
}

// TestMistakes are those that need no server: each has one message, which says
// what would be right, and its exit code.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("supervision_tree:\n  root_stratgy: OneForAll\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("1", contracts.MaxTaskBytes+1)
	for _, c := range []struct {
		args []string
		code int
		want string // what standard error begins with
	}{
		{[]string{"child", "add", "research", "x"}, 2, `smith: expected "<command> ..."; see smith child add --help`},
		{[]string{"child", "ad"}, 2, `smith: unexpected argument ad, did you mean "add"?; see smith child --help`},
		{[]string{"up", "--config", bad}, 2, bad + `:2:3: supervision_tree: unknown key "root_stratgy"`},
		{[]string{"up", "--config", filepath.Join(dir, "none")}, 2, "cannot read the configuration: open " + dir},
		{[]string{"up", "--listen", "nowhere", "--store-dir", dir}, 2, `smith: wrong use: --listen: bad listen address "nowhere": use HOST:PORT`},
		{[]string{"up", "--runner", "a.b"}, 2, `smith: wrong use: --runner: invalid id: "a.b"`},
		{[]string{"config", "check", bad}, 1, bad + ":2:3: "},
		{[]string{"events", "query", "--last", "--limit", "1001"}, 2, "smith: wrong use: --last gives at most 1000 events"},
		{[]string{"task", "submit", "research", large}, 2, "smith: wrong use: the payload has more than 262144 bytes"},
		{[]string{"tree", "--server", "nats://u:p/w@h"}, 2, "smith: wrong use: --server: invalid server URL: number 1 of 1 cannot be read"},
		{[]string{"run"}, 2, `smith: expected "<command> ..."; see smith run --help`},
		{[]string{"run", "--"}, 2, "smith: wrong use: name the program after --"},
		{[]string{"run", "--name", "a.b", "--", "true"}, 2, `smith: wrong use: --name: invalid id: "a.b"`},
		{[]string{"run", "--heartbeat-interval", "0s", "--", "true"}, 2, "smith: wrong use: --heartbeat-interval and --shutdown-timeout"},
		{[]string{"run", "--health", "output_within=1m", "--", "true"}, 2, "smith: wrong use: --health: output_within: smith run does not read"},
		{[]string{"run", "--creds", "/no/such/file", "--", "true"}, 2, "smith: wrong use: --creds: open /no/such/file"},
		{[]string{"tree", "--creds", "/no/such/file"}, 1, "smith: --creds: open /no/such/file"},
	} {
		var out, errOut bytes.Buffer
		code := run(c.args, &out, &errOut)
		if code != c.code || !strings.HasPrefix(errOut.String(), c.want) || out.Len() > 0 {
			t.Errorf("smith %.60v: exit code %d, want %d with %q in:\n%s%s", c.args, code, c.code, c.want, out.String(), errOut.String())
		}
	}
}

func TestClip(t *testing.T) {
	if short, long := clip("wörter", 6), clip("wörter, viele", 6); short != "wörter" || long != "wörte…" {
		t.Errorf("%q, %q", short, long)
	}
}

// TestPagesGoOnAfterAnEmptyOne: a page is empty, too, when the search took long.
func TestPagesGoOnAfterAnEmptyOne(t *testing.T) {
	event := func(seq uint64) contracts.StoredEvent {
		return contracts.StoredEvent{Sequence: seq, Event: contracts.Event{Type: contracts.AgentCreated, Entity: "a"}}
	}
	pages := map[uint64]contracts.EventsReply{
		0:  {Events: []contracts.StoredEvent{event(1)}, Next: 10},
		10: {Next: 20},
		20: {Events: []contracts.StoredEvent{event(21)}},
	}
	var out bytes.Buffer
	a := &app{ctx: context.Background(), stdout: &out}
	err := clientFlags{}.pages(a, func(cursor uint64) (contracts.EventsReply, error) { return pages[cursor], nil })
	if err != nil || strings.Count(out.String(), "agent.created") != 2 {
		t.Errorf("%v, printed:\n%s", err, out.String())
	}
}
