package config

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v4"
)

// Load reads the file at path, applies overrides from the environment (see
// [ParseEnv]) and checks the whole. An empty path means no file: the defaults
// with the overrides. A refused configuration gives [Errors].
func Load(path string) (*File, error) { return loadFile(path, newOverrides(os.Environ())) }

// LoadSettings is [Load] for a program that starts no agents: what the file refers
// to need not be in its environment.
func LoadSettings(path string) (*File, error) {
	env := newOverrides(os.Environ())
	env.all = nil
	return loadFile(path, env)
}

func loadFile(path string, env *overrides) (*File, error) {
	if path == "" {
		return checked("", nil, env)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return checked(path, data, env)
}

// Parse checks the configuration in data; name stands in messages as its file.
func Parse(name string, data []byte) (*File, error) { return ParseEnv(name, data, nil) }

// ParseEnv is Parse with overrides from environ, a list of NAME=value. A
// scalar of a fixed section is overridden by SMITH_<SECTION>_<KEY>: so
// SMITH_FAILURE_DETECTION_PHI_THRESHOLD=12 sets
// supervision_tree.failure_detection.phi_threshold. Sections with free names
// and the tree cannot be overridden. A variable that begins like a section but
// names none of its keys is a problem.
//
// In values of env, commands, dir and env_file, ${NAME} and ${NAME:-default} refer
// to environ, see [contracts.Expand]. Without environ (nil) they are checked and
// left as they are.
func ParseEnv(name string, data []byte, environ []string) (*File, error) {
	return checked(name, data, newOverrides(environ))
}

func checked(name string, data []byte, env *overrides) (*File, error) {
	f, d := parse(name, data, env)
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	return f, nil
}

func parse(name string, data []byte, env *overrides) (*File, *decoder) {
	d := &decoder{file: name, env: env, seen: map[string]bool{}, places: map[string]Position{}}
	f := Default()
	f.Path, f.places, f.text = name, d.places, string(data)
	root := d.parse(data)
	if len(d.problems) > 0 {
		return f, d
	}
	if root == nil {
		root = &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	d.read(root, f)
	d.env.unused(d)
	f.overrides = d.env.inUse()
	return f, d
}

// read fills f from the file's content.
func (d *decoder) read(root *yaml.Node, f *File) {
	file := value{d: d, node: root}.object()
	top := file.section("supervision_tree")
	readDetection(top.settings("failure_detection"), &f.FailureDetection)
	readSynadia(top.settings("synadia"), &f.Synadia)
	readVerification(top.settings("verification"), f)
	readPlacement(top.settings("placement"), &f.Placement)
	readRunner(top.section("runner"), &f.Runner)
	readBudget(top.settings("restart_budget"), &f.RestartBudget)
	readPolicies(top.section("restart_policies"), f)
	readNamed(top.section("circuit_breakers"), f.CircuitBreakers, readBreaker)
	readNamed(top.section("bulkheads"), f.Bulkheads, readBulkhead)
	readNamed(top.section("retries"), f.Retries, readRetry)
	readTimeouts(top.settings("timeouts"), &f.Timeouts)
	readRouting(top.settings("routing"), &f.Routing)
	readEventStore(top.settings("event_store"), &f.EventStore)
	readShutdown(top.settings("shutdown"), &f.Shutdown)
	readLimits(top.settings("limits"), &f.Limits)
	readTree(top, f)
	top.done(nil)
	file.done(func(key string) string {
		for _, k := range top.known {
			if fold(k) == fold(key) {
				return fmt.Sprintf("%q belongs under supervision_tree", k)
			}
		}
		return ""
	})
}
