package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// setting is one setting of a node, by the name that the file has for it.
type setting struct {
	name string
	of   func(*side) string
}

// side is a specification and what a runner is told of it.
type side struct {
	*tree.Spec
	start contracts.StartCommand
}

// current are the settings of agents that take effect without a start.
var current = map[string]bool{
	"restart": true, "significant": true, "mode": true, "policy": true, "shutdown_timeout": true, "on_return": true, "count": true,
}

// common, ofAgents and ofSupervisors list the settings that are compared.
var (
	common = []setting{
		{"restart", func(s *side) string { return string(s.Restart) }},
		{"significant", func(s *side) string { return strconv.FormatBool(s.Significant) }},
		{"mode", func(s *side) string {
			if s.Mode == nil {
				return ""
			}
			return s.Mode.String()
		}},
		{"shutdown_timeout", func(s *side) string { return bound(s.ShutdownTimeout) }},
		{"policy", func(s *side) string { return delays(s.Backoff) }},
	}
	ofAgents = []setting{
		{"command", func(s *side) string { return asJSON(s.start.Command, []string(nil)) }},
		{"expand", func(s *side) string { return strconv.FormatBool(s.start.Expand) }},
		{"dir", func(s *side) string { return s.start.Dir }},
		{"type", func(s *side) string { return s.start.Type }},
		{"capabilities", func(s *side) string { return strings.Join(s.start.Capabilities, ", ") }},
		{"capacity", func(s *side) string { return strconv.Itoa(s.start.Capacity) }},
		{"heartbeat_interval", func(s *side) string { return s.start.HeartbeatInterval.D().String() }},
		{"heartbeats", func(s *side) string { return s.start.Heartbeats }},
		{"stop_signal", func(s *side) string { return string(cmp.Or(s.start.StopSignal, contracts.StopTERM)) }},
		{"leave_children", func(s *side) string { return strconv.FormatBool(s.start.LeaveChildren) }},
		{"health", func(s *side) string { return asJSON(s.start.Health, (*contracts.HealthSpec)(nil)) }},
		{"pass_env", func(s *side) string { return strings.Join(s.start.PassEnv, ", ") }},
		{"env_file", func(s *side) string { return s.start.EnvFile }},
		{"user", func(s *side) string { return s.start.User }},
		{"group", func(s *side) string { return s.start.Group }},
		{"umask", func(s *side) string { return s.start.Umask }},
		{"nice", func(s *side) string { return asJSON(s.start.Nice, (*int)(nil)) }},
		{"limits", func(s *side) string { return asJSON(s.start.Limits, (*contracts.ProcessLimits)(nil)) }},
		{"output", func(s *side) string { return asJSON(s.start.Output, (*contracts.OutputLimits)(nil)) }},
		{"start_deadline", func(s *side) string { return s.Agent.StartDeadline.String() }},
		{"stabilisation", func(s *side) string { return s.Agent.Stabilisation.String() }},
		{"runner", func(s *side) string { return s.Agent.Runner }},
		{"runner_labels", func(s *side) string { return asJSON(s.Agent.Labels, map[string]string(nil)) }},
		{"on_return", func(s *side) string {
			if s.Agent.Return {
				return "return"
			}
			return "stay"
		}},
	}
	ofSupervisors = []setting{
		{"strategy", func(s *side) string { return string(s.Supervisor.Strategy) }},
		{"max_restarts", func(s *side) string { return strconv.Itoa(s.Supervisor.MaxRestarts) }},
		{"time_window", func(s *side) string { return s.Supervisor.Period.String() }},
		{"escalation", func(s *side) string { return string(s.Supervisor.Escalation) }},
		{"cool_off", func(s *side) string { return s.Supervisor.CoolOff.String() }},
		{"max_cool_off", func(s *side) string { return s.Supervisor.MaxCoolOff.String() }},
		{"auto_shutdown", func(s *side) string { return string(s.Supervisor.AutoShutdown) }},
		{"restart_budget", func(s *side) string { return asJSON(s.Supervisor.Budget, (*tree.Budget)(nil)) }},
	}
)

// fields lists the settings in which two specifications of a node differ.
func fields(before, after *tree.Spec) []contracts.FieldDiff {
	if before == after {
		return nil
	}
	a, b := sideOf(before), sideOf(after)
	all := [][]setting{common, ofSupervisors}
	if before.Agent != nil {
		all[1] = ofAgents
	}
	var out []contracts.FieldDiff
	for _, list := range all {
		for _, s := range list {
			if from, to := s.of(a), s.of(b); from != to {
				out = append(out, contracts.FieldDiff{Field: s.name, From: from, To: to})
			}
		}
	}
	if before.Agent != nil && !reference.Same(reference.Of(before.Agent.Start), reference.Of(after.Agent.Start)) {
		// Its values are secrets, and so is which of them changed.
		out = append(out, contracts.FieldDiff{Field: "env"})
	}
	if len(out) == 0 && !same(before, after) {
		out = append(out, contracts.FieldDiff{Field: "other settings"})
	}
	return out
}

func sideOf(s *tree.Spec) *side {
	out := &side{Spec: s}
	if s.Agent != nil {
		out.start = reference.Command(s.Agent.Start)
	}
	return out
}

// same reports whether specifications are equal in all that is not a place in
// the tree.
func same(before, after *tree.Spec) bool {
	place := func(s *tree.Spec) tree.Spec {
		c := *s
		c.Parent, c.Origin, c.Rank, c.Instances = "", "", 0, 0
		if c.Agent != nil {
			a := *c.Agent
			a.Start, a.Build = nil, ""
			c.Agent = &a
		}
		return c
	}
	return reflect.DeepEqual(place(before), place(after))
}

// delays is a backoff in words.
func delays(b backoff.Delays) string {
	text := b.Delay.String()
	if b.Type != "" && b.Type != backoff.Fixed {
		text = fmt.Sprintf("%s from %s up to %s", b.Type, b.Delay, b.Max)
	}
	if b.Increment > 0 {
		text += ", by " + b.Increment.String()
	}
	if b.Base > 0 {
		text += ", base " + strconv.FormatFloat(b.Base, 'g', -1, 64)
	}
	return fmt.Sprintf("%s, jitter %g, reset after %s", text, b.Jitter, b.Reset)
}

func bound(d time.Duration) string {
	if d == 0 {
		return "infinity"
	}
	return d.String()
}

// asJSON renders what has no shorter form; empty where it is nothing.
func asJSON(v, none any) string {
	if reflect.DeepEqual(v, none) {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read it
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
