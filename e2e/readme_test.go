package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/internal/config"
)

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks gives the README's code blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	if len(out) == 0 {
		t.Fatalf("the README has no %s block", language)
	}
	return out
}

// TestReadmeCommands runs every command of the README: the client's and the
// services' against a server that is not there, which they must find out rather
// than stumble over a flag. What they do is tested elsewhere.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, text := range blocks(t, "yaml") {
		if _, err := config.Parse("README.md", []byte(text)); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "supervision-config.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tried := 0
	for line := range strings.Lines(strings.Join(blocks(t, "sh"), "")) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
		line = strings.TrimSpace(line)
		program, _, _ := strings.Cut(line, " ")
		switch {
		case line == "" || program == "nats" || program == "nats-server":
			continue // other people's programs
		case program == "go":
			if !slices.Contains([]string{"go run ./cmd/smith demo", "go install ./cmd/...", "go build -o my-agent ./examples/worker"}, line) {
				t.Errorf("README: nothing tests %q", line)
			}
			continue
		}
		tried++
		code, out := inShell(t, dir, line)
		switch {
		case strings.HasPrefix(line, "smith config check"):
			if code != 0 {
				t.Errorf("%s: exit code %d\n%s", line, code, out)
			}
		case strings.HasPrefix(line, "smith up"):
			if code != 1 || !strings.Contains(out, "not writable") {
				t.Errorf("%s: exit code %d\n%s", line, code, out)
			}
		case code != 1 || !strings.Contains(out, "no NATS server answers"):
			t.Errorf("%s: exit code %d\n%s", line, code, out)
		}
	}
	if tried < 10 {
		t.Errorf("only %d commands found", tried)
	}
}

// inShell runs a line as a user would type it, where no server answers and
// nothing can be stored.
func inShell(t *testing.T, dir, line string) (code int, output string) {
	t.Helper()
	nowhere := "nats://127.0.0.1:1"
	line = strings.ReplaceAll(line, "nats://127.0.0.1:4222", nowhere)
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+binaries+":"+os.Getenv("PATH"), "NATS_URL="+nowhere, "NATS_TIMEOUT=500ms",
		"SMITH_HTTP=", "SMITH_STORE_DIR="+filepath.Join(dir, "supervision-config.yaml"), "SMITH_LISTEN=127.0.0.1:0")
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}
