package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// withoutEmpty are the commands whose --json this cannot test: they print one line for
// each event or line, write into a file, or need more than answers.
var withoutEmpty = map[string]bool{"watch": true, "events replay": true, "detector record": true, "demo": true, "logs": true}

// TestEmptyListsOfEveryCommand: where services answer without any list, no command
// prints null in the place of one.
func TestEmptyListsOfEveryCommand(t *testing.T) {
	s := natstest.Listen(t)
	t.Setenv("NATS_URL", s.URL())
	sub, err := s.Connect(t).Subscribe("smith.>", func(m *nats.Msg) {
		if m.Reply != "" {
			_ = m.Respond([]byte(`{"rolling":{"state":"none"},"state":"none"}`)) // there is nothing to wait for
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("supervision_tree:\n  tree: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := map[string]string{
		"rehearse": "--config " + file, "config check": file, "config diff": file, "config apply": file,
		"detector rehearse": recorded(t), "child restart": "x",
	}
	tried := 0
	for _, leaf := range newParser(t).Model.Leaves(true) {
		command := strings.TrimPrefix(leaf.Path(), "smith ")
		if !takesJSON(leaf) || withoutEmpty[command] {
			continue
		}
		tried++
		args, known := arguments[command]
		for _, p := range leaf.Positional {
			if p.Required && !known {
				args += " " + valuesOf(t, p)[0]
			}
		}
		withoutNull(t, command+" --json "+args)
	}
	if tried < 25 {
		t.Errorf("only %d commands tried", tried)
	}
	for _, line := range []string{"tree --problems", "tree --stopped", "tree --diff 10m now", "agents --suspicion", "rebalance --dry-run"} {
		withoutNull(t, line+" --json")
	}
}

func takesJSON(leaf *kong.Node) bool {
	for _, group := range leaf.AllFlags(true) {
		for _, f := range group {
			if f.Name == "json" {
				return true
			}
		}
	}
	return false
}

var null = regexp.MustCompile(`\bnull\b`)

func withoutNull(t *testing.T, line string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(strings.Fields(line), &out, &errOut); code != 0 || null.Match(out.Bytes()) {
		t.Errorf("smith %s: exit code %d\n%s%s", line, code, out.String(), errOut.String())
	}
}
