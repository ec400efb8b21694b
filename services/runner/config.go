package runner

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Config of a runner. The zero value is useful. Its tags are flags of the
// command line, for commands that embed it.
type Config struct {
	// Name is the runner's id, unique among all runners and agents.
	Name string `env:"SMITH_RUNNER_NAME" placeholder:"ID" help:"Name of this runner, unique in the fleet (default: the host's name)."`
	// StateDir is where it remembers its agents. It must be on a local file
	// system and belong to this runner alone.
	StateDir string `name:"state-dir" env:"SMITH_RUNNER_STATE_DIR" type:"path" placeholder:"DIR" help:"Directory where this runner remembers its agents (default: ~/.local/state/mistersmith/runner-NAME)."`
	// WorkDir is where agents run that name no directory.
	WorkDir string `name:"work-dir" env:"SMITH_RUNNER_WORK_DIR" type:"path" placeholder:"DIR" help:"Directory that agents run in and relative directories start from (default: the current one)."`
	// Labels are announced, for placement.
	Labels map[string]string `name:"label" placeholder:"KEY=VALUE" help:"Label that the runner announces; may be repeated."`
	// MaxAgents bounds how many agents run at once.
	MaxAgents int `name:"max-agents" env:"SMITH_RUNNER_MAX_AGENTS" placeholder:"N" help:"How many agents may run at once (default 1000)."`
	// MaxOutput bounds the bytes kept of an agent's output; 0: as File says.
	MaxOutput int64 `name:"max-output" env:"SMITH_RUNNER_MAX_OUTPUT" placeholder:"BYTES" help:"How much of an agent's output is kept, in bytes (default: runner.output.max_bytes of the configuration, 10485760)."`
	// PassEnv names variables of the runner's environment that agents get
	// in addition to the basic ones, and to those that File names.
	PassEnv []string `name:"pass-env" env:"SMITH_RUNNER_PASS_ENV" placeholder:"VAR" help:"Variable of the runner's environment that its agents get too; may be repeated."`
	// AgentServer, AgentCreds and AgentCA are how agents reach NATS.
	AgentServer string `name:"agent-server" env:"SMITH_AGENT_SERVER" placeholder:"URL" help:"NATS server URLs given to agents (default: the runner's own, without user and password)."`
	AgentCreds  string `name:"agent-creds" env:"SMITH_AGENT_CREDS" type:"path" placeholder:"FILE" help:"Credentials file given to agents (default: none; never the runner's own)."`
	AgentCA     string `name:"agent-ca" env:"SMITH_AGENT_CA" type:"path" placeholder:"FILE" help:"TLS certificate authority given to agents."`
	// StopAgents ends the agents when the runner ends. Otherwise they run on,
	// and the next runner on the same StateDir takes them over.
	StopAgents bool `name:"stop-agents" env:"SMITH_RUNNER_STOP_AGENTS" help:"End the agents when the runner is ended, instead of leaving them to its successor. They are started again when it is back, or elsewhere."`
	// StopOnDisconnect is for how long the event stream may be out of reach until
	// the agents are ended; 0 means that they run on.
	StopOnDisconnect time.Duration `name:"stop-on-disconnect" env:"SMITH_RUNNER_STOP_ON_DISCONNECT" placeholder:"DURATION" help:"End the agents when NATS was out of reach for so long, such as 60s, so that they can be started elsewhere safely (default: they run on)."`

	// Stdout is where output is forwarded to if File says so; nil is this process's.
	Stdout io.Writer `kong:"-"`
	// File sets up the guard of calls to the event store (breaker, bulkhead,
	// retry and timeouts named eventstore); nil means the defaults.
	File *config.File `kong:"-"`
}

// FromFile returns the configuration with the file's settings of runners.
func FromFile(f *config.File) Config { return Config{File: f} }

const (
	defaultMaxAgents = 1000
	// mostAgents is how many have been tried; each takes two descriptors.
	mostAgents       = 20_000
	defaultMaxOutput = 10 << 20
	leastDisconnect  = 5 * time.Second
)

// withDefaults fills in what is not set.
func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("runner name: %w; set one", err)
		}
		c.Name = idFrom(host)
	}
	if c.StateDir == "" {
		home, err := stateHome()
		if err != nil {
			return c, fmt.Errorf("state directory: %w; name one", err)
		}
		c.StateDir = filepath.Join(home, "mistersmith", "runner-"+c.Name)
	}
	workDir, err := filepath.Abs(c.WorkDir)
	if err != nil {
		return c, fmt.Errorf("work directory: %w", err)
	}
	c.WorkDir = workDir
	if c.MaxAgents == 0 {
		c.MaxAgents = defaultMaxAgents
	}
	if c.File == nil {
		c.File = config.Default()
	}
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	c.MaxOutput = cmp.Or(c.MaxOutput, c.File.Runner.Output.MaxBytes)
	c.PassEnv = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.PassEnv, c.File.Runner.PassEnv))))
	return c, nil
}

// Validate reports everything that is wrong, or nil.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if c.Name != "" {
		if err := contracts.ValidateID(c.Name); err != nil {
			errs = append(errs, fmt.Errorf("runner name: %w", err))
		}
	}
	check(c.MaxAgents >= 0 && c.MaxAgents <= mostAgents, "max agents: %d; use 1 to %d (0: %d)", c.MaxAgents, mostAgents, defaultMaxAgents)
	check(c.MaxOutput == 0 || c.MaxOutput >= contracts.MinOutput, "max output: %d bytes; use at least %d (0: %d)", c.MaxOutput, contracts.MinOutput, defaultMaxOutput)
	check(c.StopOnDisconnect == 0 || c.StopOnDisconnect >= leastDisconnect, "stop on disconnect: %s; use at least %s, since a server that is restarted is away as well (0: never)", c.StopOnDisconnect, leastDisconnect)
	for _, name := range c.PassEnv {
		check(name != "" && !strings.ContainsAny(name, "=\x00"), "pass env: %q is not the name of a variable", name)
	}
	if c.WorkDir != "" {
		info, err := os.Stat(c.WorkDir)
		if err != nil {
			errs = append(errs, fmt.Errorf("work directory: %w", err))
		} else {
			check(info.IsDir(), "work directory %s: not a directory", c.WorkDir)
		}
	}
	return errors.Join(errs...)
}

func stateHome() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state"), err
}

// idFrom makes an id of a host's name.
func idFrom(host string) string {
	host, _, _ = strings.Cut(host, ".")
	id := strings.Map(func(r rune) rune {
		if r < 0x80 && contracts.ValidateID(string(r)) == nil {
			return r
		}
		return '-'
	}, host)
	if id == "" {
		return "runner"
	}
	return id[:min(len(id), contracts.MaxIDLength)]
}

// agentServers is where agents find NATS: the servers that the runner was
// told of, without its own user and password.
func agentServers(nc *nats.Conn) string {
	discovered := map[string]bool{}
	for _, s := range nc.DiscoveredServers() {
		discovered[s] = true
	}
	var servers []string
	for _, s := range nc.Servers() {
		u, err := url.Parse(s)
		if err != nil || discovered[s] {
			continue
		}
		u.User = nil
		servers = append(servers, u.String())
	}
	return strings.Join(servers, ",")
}
