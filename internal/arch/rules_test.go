package arch

import (
	"fmt"
	"slices"
	"strings"
)

// cores are the packages that hold decisions and no side effects.
var cores = []string{
	"internal/backoff",
	"internal/chain",
	"internal/heap",
	"internal/strategy",
	"services/detector/internal/connection",
	"services/detector/internal/correlation",
	"services/detector/internal/fleet",
	"services/detector/internal/rehearsal",
	"services/detector/internal/roster",
	"services/detector/internal/slab",
	"services/detector/internal/suspicion",
	"services/detector/internal/synadia",
	"services/detector/internal/tape",
	"services/detector/internal/wheel",
	"services/eventstore/internal/intake",
	"services/router/internal/scheduler",
	"services/supervisor/internal/diagnosis",
	"services/supervisor/internal/leader",
	"services/supervisor/internal/plan",
	"services/supervisor/internal/proposals",
	"services/supervisor/internal/storage",
	"services/supervisor/internal/decisionlog",
	"services/supervisor/internal/reference",
	"services/supervisor/internal/rehearsal",
	"services/supervisor/internal/sim",
	"services/supervisor/internal/tree",
}

// maxLines bounds a file that is no test.
const maxLines = 450

// rule is one thing that must hold of every package.
type rule struct {
	name string
	// reason says what is lost when it is broken.
	reason string
	// breaches gives what a package does against it.
	breaches func(p pkg) []string
}

var rules = []rule{
	{
		"services are strangers",
		"services talk over NATS only, so that each can be deployed, killed and replaced alone",
		func(p pkg) []string {
			own := service(p.path)
			return p.importing(p.everyImport(), func(path string) bool {
				other := service(path)
				return own != "" && other != "" && other != own
			})
		},
	},
	{
		"services share contracts and shell",
		"what services may share is how they run and how the log is read, not what they decide; a server or another program inside one ties it to them",
		func(p pkg) []string {
			allowed := []string{"pkg/contracts", "internal/shell", "internal/guard", "internal/backoff", "internal/strategy", "internal/chain", "internal/heap", "internal/config"}
			return p.importing(p.imports, func(path string) bool {
				return service(p.path) != "" && isLocal(path) && service(path) == "" && !slices.Contains(allowed, path) ||
					service(p.path) != "" && under(path, "github.com/nats-io/nats-server/v2")
			})
		},
	},
	{
		"facades are for mains",
		"only cmd/ puts services together; whoever else imports one runs two services as one",
		func(p pkg) []string {
			return p.importing(p.everyImport(), func(path string) bool {
				return service(path) != "" && service(path) != service(p.path) && service(p.path) == "" &&
					!under(p.path, "cmd") && !under(p.path, "e2e") && !(p.path == "deploy" && slices.Contains(p.testImports, path))
			})
		},
	},
	{
		"pkg is self-contained",
		"programs of others import pkg/; they cannot import internal/, and services are none of their business",
		func(p pkg) []string {
			return p.importing(p.imports, func(path string) bool {
				return under(p.path, "pkg") && isLocal(path) && !under(path, "pkg")
			})
		},
	},
	{
		"agents are light",
		"an agent's author pays for every module that pkg/ pulls in",
		func(p pkg) []string {
			heavy := []string{
				"github.com/nats-io/nats-server/v2", "github.com/prometheus", "github.com/cockroachdb", "github.com/alecthomas/kong",
				"github.com/invopop/jsonschema", "github.com/santhosh-tekuri/jsonschema", "go.yaml.in/yaml", "net/http/pprof",
			}
			if !under(p.path, "pkg") {
				return nil
			}
			return p.importing(p.deps, func(path string) bool {
				return slices.ContainsFunc(heavy, func(h string) bool { return under(path, h) })
			})
		},
	},
	{
		"cores are pure: imports",
		"a core is step(state, input, now): with a connection, clock, logger or file in it, it cannot be replayed or simulated",
		func(p pkg) []string {
			impure := []string{
				"context", "log", "net", "os", "syscall", "crypto/rand", "math/rand", "testing",
				"github.com/nats-io", "github.com/prometheus", "golang.org/x/sys", "internal",
			}
			return p.importing(p.imports, func(path string) bool {
				if !slices.Contains(cores, p.path) || slices.Contains(cores, path) {
					return false
				}
				return service(path) != "" || slices.ContainsFunc(impure, func(i string) bool { return under(path, i) })
			})
		},
	},
	{
		"cores are pure: clock",
		"now is an argument of a core; the clock of the machine is not the clock of a replay",
		func(p pkg) []string {
			var found []string
			for _, f := range p.files {
				if slices.Contains(cores, p.path) {
					found = append(found, f.clock...)
				}
			}
			return found
		},
	},
	{
		"test helpers stay in tests",
		"internal/natstest carries a server and the testing package, internal/oldkernel takes system calls away; none of that belongs in a program",
		func(p pkg) []string {
			return p.importing(p.imports, func(path string) bool { return path == "internal/natstest" || path == "internal/oldkernel" })
		},
	},
	{
		"a file is one concept",
		fmt.Sprintf("beyond %d lines a file is several; split it by concept", maxLines),
		func(p pkg) []string {
			var found []string
			for _, f := range p.files {
				if f.lines > maxLines {
					found = append(found, fmt.Sprintf("%s has %d lines", f.name, f.lines))
				}
			}
			return found
		},
	},
}

// service is the name of the service a package belongs to, or "".
func service(path string) string {
	rest, ok := strings.CutPrefix(path, "services/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// isLocal tells a package of this module, whose path load has shortened.
func isLocal(path string) bool {
	for _, top := range []string{"cmd", "services", "internal", "pkg", "e2e", "deploy", "tests", "tools", "examples"} {
		if under(path, top) {
			return true
		}
	}
	return false
}

// under tells whether path is dir or lies below it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
