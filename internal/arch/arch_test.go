package arch

import (
	"slices"
	"strings"
	"testing"
)

func TestArchitecture(t *testing.T) {
	pkgs, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages; the test would pass on anything", len(pkgs))
	}
	for _, r := range rules {
		for _, p := range pkgs {
			for _, breach := range r.breaches(p) {
				t.Errorf("%s: %s %s\n\tbecause %s", r.name, p.path, breach, r.reason)
			}
		}
	}
	for _, core := range cores {
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.path == core && len(p.files) > 0 }) {
			t.Errorf("the core %s is gone; correct the list of cores", core)
		}
	}
}

// TestRules shows each rule a package that breaks it, and one that comes close
// and does not.
func TestRules(t *testing.T) {
	const tree = "services/supervisor/internal/tree"
	code := func(path string, imports ...string) pkg { return pkg{path: path, imports: imports} }
	tests := func(path string, imports ...string) pkg { return pkg{path: path, testImports: imports} }
	deps := func(path string, deps ...string) pkg { return pkg{path: path, deps: deps} }
	source := func(path, src string) pkg {
		f, err := readFile("x.go", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		return pkg{path: path, files: []file{f}}
	}
	cases := []struct {
		rule      string
		bad, good []pkg
	}{
		{
			"services are strangers",
			[]pkg{
				code("services/router", "services/detector"),
				code("services/router/internal/scheduler", "services/detector/internal/fleet"),
				tests("services/router", "services/eventstore"),
			},
			[]pkg{
				code("services/router", "services/router/internal/scheduler", "pkg/contracts"),
				code("cmd/smith", "services/router", "services/detector"),
			},
		},
		{
			"services share contracts and shell",
			[]pkg{
				code("services/router", "internal/natsd"),
				code("services/router", "pkg/agent"),
				code("services/router/internal/x", "cmd/smith/internal/up"),
				code("services/eventstore", "github.com/nats-io/nats-server/v2/server"),
			},
			[]pkg{
				code("services/router", "pkg/contracts", "internal/shell", "internal/guard", "internal/config", "github.com/nats-io/nats.go", "time"),
				tests("services/router", "internal/natstest"),
				code("cmd/smith", "internal/natsd", "github.com/nats-io/nats-server/v2/server"),
			},
		},
		{
			"facades are for mains",
			[]pkg{code("internal/shell", "services/router"), code("pkg/agent", "services/runner"), tests("internal/config", "services/router")},
			[]pkg{
				code("cmd/router", "services/router"), code("cmd/smith/internal/up", "services/router"),
				tests("e2e", "services/router"), tests("services/router", "services/router"),
			},
		},
		{
			"pkg is self-contained",
			[]pkg{code("pkg/agent", "internal/shell"), code("pkg/contracts", "services/router")},
			[]pkg{code("pkg/agent", "pkg/contracts", "github.com/nats-io/nats.go"), tests("pkg/agent", "internal/natstest")},
		},
		{
			"agents are light",
			[]pkg{deps("pkg/agent", "github.com/nats-io/nats-server/v2/server"), deps("pkg/contracts", "github.com/prometheus/client_golang/prometheus")},
			[]pkg{deps("pkg/agent", "github.com/nats-io/nats.go", "net/http"), deps("internal/shell", "github.com/prometheus/client_golang/prometheus")},
		},
		{
			"cores are pure: imports",
			[]pkg{
				code(tree, "context"), code(tree, "log/slog"), code(tree, "net"), code(tree, "net/http"), code(tree, "os"), code(tree, "os/exec"),
				code(tree, "github.com/nats-io/nats.go/jetstream"), code(tree, "internal/shell"), code(tree, "math/rand/v2"),
				code(tree, "services/supervisor/internal/journal"),
			},
			[]pkg{
				code(tree, "time", "pkg/contracts", "encoding/json", "internal/backoff", "internal/strategy"),
				code("services/detector/internal/fleet", "services/detector/internal/wheel"),
				code("services/supervisor/internal/journal", "context", "log/slog", "os"),
				tests(tree, "os", "testing"),
			},
		},
		{
			"cores are pure: clock",
			[]pkg{
				source(tree, "package x\nimport \"time\"\nvar a = time.Now()"),
				source(tree, "package x\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }"),
				source(tree, "package x\nimport \"time\"\nvar now = time.Now"),
				source(tree, "package x\nimport \"time\"\nvar c = time.After(1)"),
				source(tree, "package x\nimport \"time\"\nfunc f(t time.Time) time.Duration { return time.Since(t) }"),
			},
			[]pkg{
				source(tree, "package x\nimport \"time\"\nfunc f(now time.Time) time.Time { return now.Add(time.Second) }"),
				source(tree, "package x\ntype clock struct{}\nfunc (clock) Now() int { return 0 }\nvar time clock\nvar a = time.Now()"),
				source("services/supervisor", "package x\nimport \"time\"\nvar a = time.Now()"),
			},
		},
		{
			"test helpers stay in tests",
			[]pkg{code("internal/shell", "internal/natstest"), code("cmd/smith", "internal/natstest"), code("services/runner", "internal/oldkernel")},
			[]pkg{tests("internal/shell", "internal/natstest")},
		},
		{
			"a file is one concept",
			[]pkg{source("cmd/x", "package x\n"+strings.Repeat("\n", maxLines))},
			[]pkg{source("cmd/x", "package x\n"+strings.Repeat("\n", maxLines-1))},
		},
	}
	if len(cases) != len(rules) {
		t.Errorf("%d rules, but %d are shown to catch anything", len(rules), len(cases))
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == c.rule })
			if i < 0 {
				t.Fatal("there is no such rule")
			}
			for _, p := range c.bad {
				if len(rules[i].breaches(p)) == 0 {
					t.Errorf("not caught: %+v", p)
				}
			}
			for _, p := range c.good {
				if found := rules[i].breaches(p); len(found) > 0 {
					t.Errorf("caught for nothing: %s %v", p.path, found)
				}
			}
		})
	}
}
