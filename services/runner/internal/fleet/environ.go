package fleet

import (
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

// For is the environment of one start: the base, then NATS, then what the
// command says, then who the agent is and the marks of the start, which nothing
// overrides.
func (e Env) For(cmd contracts.StartCommand, runner string, marks []string) []string {
	vars := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	set := func(k, v string) {
		if v != "" {
			vars[k] = v
		}
	}
	for k, v := range e.Base {
		vars[k] = v
	}
	set(contracts.EnvNATSURL, e.NATSURL)
	set(contracts.EnvNATSCreds, e.NATSCreds)
	set(contracts.EnvNATSCA, e.NATSCA)
	for k, v := range cmd.Env {
		vars[k] = v
	}
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
	return env
}
