package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

// BaseEnv are the variables of the runner's own environment that agents get,
// where set. Nothing else of it reaches them, because a runner may be started
// with secrets of its own.
var BaseEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// Env is what all agents of a runner find in their environment.
type Env struct {
	// Base are inherited variables, by name.
	Base map[string]string
	// NATSURL, NATSCreds and NATSCA tell an agent how to reach NATS. The
	// last two may be empty. A command's own env may override all three.
	NATSURL, NATSCreds, NATSCA string
	// Lookup returns variables of the runner's own environment, which agents get
	// that name them. nil has none.
	Lookup func(name string) (string, bool)
}

// Inherit picks the named variables from an environment of KEY=VALUE entries.
func Inherit(environ []string, names ...string) map[string]string {
	base := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && slices.Contains(names, k) {
			base[k] = v
		}
	}
	return base
}

// For returns the environment of one start: the base, of which the user's own
// takes the place of the runner's, then NATS, then what the command passes on,
// what its file says and what it says itself, then who the agent is and the marks
// of the start, which nothing overrides. File is what the command's file says.
func (e Env) For(cmd contracts.StartCommand, runner string, as *account, file map[string]string, marks []string) ([]string, error) {
	vars := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	set := func(k, v string) {
		if v != "" {
			vars[k] = v
		}
	}
	maps.Copy(vars, e.Base)
	if as != nil {
		for _, k := range []string{"HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"} {
			delete(vars, k)
		}
		set("HOME", as.home)
		set("USER", as.name)
		set("LOGNAME", as.name)
	}
	set(contracts.EnvNATSURL, e.NATSURL)
	set(contracts.EnvNATSCreds, e.NATSCreds)
	set(contracts.EnvNATSCA, e.NATSCA)
	for _, k := range cmd.PassEnv {
		v, ok := e.lookup(k)
		if !ok {
			return nil, fmt.Errorf("pass_env: %s is not in the environment of runner %s; start the runner with it, or give it with env or env_file", k, runner)
		}
		vars[k] = v
	}
	maps.Copy(vars, file)
	maps.Copy(vars, cmd.Env)
	set(contracts.EnvAgent, cmd.Agent)
	set(contracts.EnvIncarnation, strconv.FormatUint(cmd.Incarnation, 10))
	set(contracts.EnvRunner, runner)
	set(contracts.EnvType, cmd.Type)
	set(contracts.EnvCapabilities, strings.Join(cmd.Capabilities, ","))
	if cmd.Capacity > 0 {
		set(contracts.EnvCapacity, strconv.Itoa(cmd.Capacity))
	}
	if cmd.HeartbeatInterval > 0 {
		set(contracts.EnvHeartbeatInterval, cmd.HeartbeatInterval.String())
	}
	if cmd.ShutdownTimeout > 0 {
		set(contracts.EnvShutdownTimeout, cmd.ShutdownTimeout.String())
	}
	env := slices.Clone(marks)
	for k, v := range vars {
		if !ledger.IsMark(k) {
			env = append(env, k+"="+v)
		}
	}
	slices.Sort(env)
	return env, nil
}

func (e Env) lookup(name string) (string, bool) {
	if e.Lookup == nil {
		return "", false
	}
	return e.Lookup(name)
}
