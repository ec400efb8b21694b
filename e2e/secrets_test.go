package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecretsStayWithTheirAgents: an agent has the keys that it is to have, by each
// way there is. No event, record or log has one, and those of the host never leave
// it.
func TestSecretsStayWithTheirAgents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, seen := filepath.Join(dir, "store"), filepath.Join(dir, "seen")
	file, config := filepath.Join(dir, "agent.env"), filepath.Join(dir, "config.yaml")
	const text = `
supervision_tree:
  runner: {pass_env: [KEY_OF_ALL]}
  tree:
    - name: writer
      heartbeats: runner
      pass_env: [KEY_OF_ONE]
      env_file: ENVFILE
      env: {KEY_PUT: "${KEY_TO_PUT}"}
      command: [sh, -c, 'echo "$KEY_BY_FLAG $KEY_OF_ALL $KEY_OF_ONE $KEY_OF_FILE $KEY_PUT $1 $KEY_OF_NOBODY." >"$0.part"; mv "$0.part" "$0"; exec sleep 1000', SEEN, "${KEY_OF_COMMAND}"]
`
	for name, content := range map[string]string{
		file: "KEY_OF_FILE='local-4'\n", config: strings.NewReplacer("ENVFILE", file, "SEEN", seen).Replace(text),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{
		"KEY_BY_FLAG=local-1", "KEY_OF_ALL=local-2", "KEY_OF_ONE=local-3", "KEY_TO_PUT=kept-5", "KEY_OF_COMMAND=kept-6", "KEY_OF_NOBODY=local-7",
	}
	p := start(t, bin("smith"), env, "up", "--listen", "127.0.0.1:0", "--store-dir", store, "--config", config, "--pass-env", "KEY_BY_FLAG")
	server := readyURL(t, p)
	const want = "local-1 local-2 local-3 local-4 kept-5 kept-6 .\n"
	eventually(t, 30*time.Second, "the agent", func() bool {
		_, err := os.Stat(seen)
		return err == nil
	})
	if got, _ := os.ReadFile(seen); string(got) != want {
		t.Errorf("the agent has %q, want %q", got, want)
	}
	for _, args := range [][]string{{"events", "query", "--json"}, {"why", "writer"}, {"tree", "--json"}, {"agents", "--json"}} {
		out, errOut, code := run(t, nil, bin("smith"), append(args, "--server", server)...)
		if code != 0 {
			t.Errorf("%v: %d, %s", args, code, errOut)
		}
		if strings.Contains(out, "local-") || strings.Contains(out, "kept-") {
			t.Errorf("smith %s shows a secret", strings.Join(args, " "))
		}
	}
	if log := p.output.Tail(1 << 20); strings.Contains(log, "local-") || strings.Contains(log, "kept-") {
		t.Error("a secret is in the log")
	}
	// What is put in by the configuration is kept for its agents in a bucket.
	err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("local-")) || bytes.Contains(content, []byte("kept-")) && strings.HasPrefix(path, filepath.Join(store, "runner")) {
			t.Errorf("a secret is in %s", path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
}
