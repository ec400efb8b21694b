package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
)

// Whatever a file holds: no panic, and either a whole configuration with sound
// values, or problems that each have a place and words.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(""))
	f.Add([]byte("~"))
	f.Add([]byte("supervision_tree:\n  tree:\n  - &a {name: b, children: []}\n  - {<<: *a, name: c}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse("f.yaml", data)
		if err == nil {
			checkSound(t, got)
			return
		}
		var problems Errors
		if !errors.As(err, &problems) || len(problems) == 0 || got != nil {
			t.Fatalf("refused with %v and %v", got, err)
		}
		lines := strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(data)), "\n") + 2
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" || p.File != "f.yaml" {
				t.Errorf("a problem without a place or words in %d lines: %+v", lines, p)
			}
		}
	})
}

func checkSound(t *testing.T, f *File) {
	t.Helper()
	seen := map[string]bool{}
	claim := func(name string) {
		if checkID(name) != "" || seen[name] {
			t.Errorf("name %q is bad or not unique", name)
		}
		seen[name] = true
	}
	for _, n := range f.Tree.Nodes() {
		claim(n.Name)
		if n.Strategy == "" || n.Restart == "" || n.Policy.TimeWindow <= 0 || n.Policy.Backoff.Type == "" || n.Escalation == "" {
			t.Errorf("node is not whole: %+v", n)
		}
	}
	for _, a := range f.Tree.Agents() {
		claim(a.Name)
		if a.Type == "" || a.Restart == "" || a.Capacity < 1 || a.HeartbeatInterval <= 0 || a.StartDeadline < a.HeartbeatInterval ||
			a.ShutdownTimeout <= 0 || a.Runner == "" || len(a.Command) == 0 && a.Runner == AnyRunner {
			t.Errorf("agent is not whole: %+v", a)
		}
		if d := a.Policy.Delays().WaitAt(2, -1); d < 0 || d > backoff.Longest {
			t.Errorf("delay %v of %+v", d, a.Policy)
		}
	}
	for name, b := range f.CircuitBreakers {
		if b.FailureThreshold < 1 || b.Timeout < time.Millisecond {
			t.Errorf("breaker %s: %+v", name, b)
		}
	}
}

// Aliases that multiply what is read end in one problem, soon.
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("supervision_tree:\n  tree:\n    - &a0 {name: x, strategy: one_for_one, children: []}\n")
	for i := 1; i < 40; i++ {
		prev := "*a" + string(rune('0'+(i-1)/10)) + string(rune('0'+(i-1)%10))
		if i == 1 {
			prev = "*a0"
		}
		b.WriteString("    - &a" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + " {name: x, children: [" + strings.Repeat(prev+", ", 9) + prev + "]}\n")
	}
	started := time.Now()
	_, err := Parse("bomb.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Fatalf("got %.300v", err)
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Fatalf("took %v", took)
	}
	t.Log(time.Since(started))
}
