package agent

import (
	"os"
	"strconv"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// unhonoured names the settings of a start that only a process can have.
func unhonoured(c contracts.StartCommand) (names []string) {
	var health contracts.HealthSpec
	if c.Health != nil {
		health = *c.Health
	}
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"dir", c.Dir != ""},
		{"env_file", c.EnvFile != ""},
		{"group", c.Group != ""},
		{"health.command", len(health.Command) > 0},
		{"health.http", health.HTTP != ""},
		{"health.max_memory", health.MaxMemory > 0},
		{"health.tcp", health.TCP != ""},
		{"limits", c.Limits != nil},
		{"nice", c.Nice != nil},
		{"output", c.Output != nil},
		{"pass_env", len(c.PassEnv) > 0},
		{"stop_signal", c.StopSignal != "" && c.StopSignal != contracts.StopTERM},
		{"umask", c.Umask != ""},
		{"user", c.User != ""},
	} {
		if s.set {
			names = append(names, s.name)
		}
	}
	return names
}

// optionsFor gives what Main reads from the environment of a process.
func (r *hosting) optionsFor(a *hosted) Options {
	o := r.base
	o.Agent, o.Incarnation, o.Type = a.cmd.Agent, a.cmd.Incarnation, a.cmd.Type
	o.Capabilities, o.Capacity = a.cmd.Capabilities, a.cmd.Capacity
	o.HeartbeatInterval = a.cmd.HeartbeatInterval.D()
	if d := a.cmd.ShutdownTimeout.D(); d > 0 {
		o.DrainTimeout = drainWithin(d)
	}
	o.Args, o.link, o.abort = a.cmd.Command[1:], r.link, a.abort
	own := map[string]string{
		contracts.EnvAgent: o.Agent, contracts.EnvIncarnation: strconv.FormatUint(o.Incarnation, 10),
		contracts.EnvRunner: r.Name, contracts.EnvType: o.Type, contracts.EnvCapabilities: strings.Join(o.Capabilities, ","),
		contracts.EnvNATSURL: o.URL, contracts.EnvNATSCreds: o.Creds, contracts.EnvNATSCA: o.CA,
		// Those of the program, if it is an agent itself, are not its agents'.
		contracts.EnvCapacity: "", contracts.EnvHeartbeatInterval: "", contracts.EnvShutdownTimeout: "",
	}
	if o.Capacity > 0 {
		own[contracts.EnvCapacity] = strconv.Itoa(o.Capacity)
	}
	if o.HeartbeatInterval > 0 {
		own[contracts.EnvHeartbeatInterval] = o.HeartbeatInterval.String()
	}
	if d := a.cmd.ShutdownTimeout.D(); d > 0 {
		own[contracts.EnvShutdownTimeout] = d.String()
	}
	o.Getenv = func(name string) string {
		if v, ok := own[name]; ok {
			return v
		}
		if v, ok := a.cmd.Env[name]; ok {
			return v
		}
		return os.Getenv(name)
	}
	return o
}
