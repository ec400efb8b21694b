package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReferences: what an environment's values refer to is put in; what commands
// refer to is kept apart from them, for they are in the event log.
func TestReferences(t *testing.T) {
	const text = `
supervision_tree:
  tree:
    - name: a
      command: [./a, "--key=${KEY}", "--model=${MODEL:-small}", "$HOME $$ $${KEY}"]
      dir: ${ROOT}/a
      env_file: ${ROOT}/a.env
      env: {TOKEN: "x${KEY}", LEVEL: "${LEVEL:-info}", LITERAL: "$${KEY} $KEY"}
    - {name: b, command: [./b]}
`
	environ := []string{"KEY=sec${ret", "ROOT=/srv", "OTHER=no", "SMITH_RUNNER_NAME=x"}
	f, err := ParseEnv("c.yaml", []byte(text), environ)
	if err != nil {
		t.Fatal(err)
	}
	a, b := f.Tree.Agents()[0], f.Tree.Agents()[1]
	if diff := cmp.Diff([]string{"./a", "--key=${KEY}", "--model=${MODEL:-small}", "$HOME $$ $${KEY}"}, a.Command); diff != "" {
		t.Error(diff)
	}
	if a.Dir != "${ROOT}/a" || a.Execution.EnvFile != "${ROOT}/a.env" || !a.Expand || b.Expand {
		t.Errorf("%q %q %t %t", a.Dir, a.Execution.EnvFile, a.Expand, b.Expand)
	}
	if diff := cmp.Diff(map[string]string{"KEY": "sec${ret", "ROOT": "/srv"}, a.Vars); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"TOKEN": "xsec${ret", "LEVEL": "info", "LITERAL": "${KEY} $KEY"}, a.Env); diff != "" {
		t.Error(diff)
	}
	// Another value is another configuration.
	if !slices.Equal(f.Overrides(), []string{"KEY=sec${ret", "ROOT=/srv"}) {
		t.Error(f.Overrides())
	}
	// Without an environment nothing is refused, and nothing is put in.
	if f, err = Parse("c.yaml", []byte(text)); err != nil || f.Tree.Agents()[0].Env["TOKEN"] != "x${KEY}" {
		t.Errorf("%v", err)
	}
}

// TestReferencesRefused: at its place, and without a value.
func TestReferencesRefused(t *testing.T) {
	const text = `
supervision_tree:
  tree:
    - name: a
      command: [sh, -c, "for i in 1 2; do echo ${i} ${KEY}; done"]
      env: {A: "${NONE}", B: "${KEY"}
`
	_, err := ParseEnv("c.yaml", []byte(text), []string{"KEY=secret"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatal(err)
	}
	for _, want := range []string{
		"c.yaml:5:25: supervision_tree.tree[0].command[2]: ${i}: the variable is not set",
		"c.yaml:6:16: supervision_tree.tree[0].env.A: ${NONE}: the variable is not set",
		"c.yaml:6:30: supervision_tree.tree[0].env.B: ${KEY has no }",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	if _, err := Parse("c.yaml", []byte(text)); err == nil || strings.Contains(err.Error(), "NONE") {
		t.Errorf("without an environment: %v", err)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, `"${KEY"`, "x")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("loaded without the variables")
	}
	if _, err := LoadSettings(path); err != nil {
		t.Errorf("settings: %v", err)
	}
}
