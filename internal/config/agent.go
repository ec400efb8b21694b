package config

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// maxAgents bounds one tree, maxCount one template.
const (
	maxAgents = 100_000
	maxCount  = 10_000
)

var agentKeys = []string{
	"type", "count", "command", "env", "dir", "capabilities", "capacity", "heartbeat_interval", "start_deadline",
	"stabilisation", "heartbeats", "stop_signal", "leave_children", "health", "pass_env", "env_file", "user", "group", "umask", "nice", "limits", "output", "runner", "runner_labels", "on_return", "phi_threshold", "failure_threshold",
}

// agent reads an agent and gives as many as its count says.
func (t *treeReader) agent(o *object, parent *Node) []*Agent {
	f := t.f
	a := &Template{
		Name:              t.name(o),
		Type:              DefaultType,
		Restart:           Permanent,
		Capacity:          1,
		HeartbeatInterval: f.FailureDetection.HeartbeatInterval,
		StartDeadline:     f.Verification.StartDeadline,
		ShutdownTimeout:   contracts.DefaultShutdownTimeout,
		Stabilisation:     f.Verification.Stabilisation,
		Heartbeats:        ByAgent,
		StopSignal:        contracts.StopTERM,
		Runner:            AnyRunner,
		OnReturn:          f.Placement.OnReturn,
		PhiThreshold:      f.FailureDetection.PhiThreshold,
		FailureThreshold:  f.FailureDetection.FailureThreshold,
		Pos:               position(o.value),
		Setting:           o.path,
	}
	count := 1
	o.integer("count", &count, 1, maxCount)
	o.id("type", &a.Type)
	readRestart(o, &a.Restart, &a.Significant, parent)
	o.ids("capabilities", "capabilities", &a.Capabilities, contracts.MaxCapabilities)
	o.integer("capacity", &a.Capacity, 1, contracts.MaxCapacity)
	o.number("phi_threshold", &a.PhiThreshold, 0.1, 300)
	o.integer("failure_threshold", &a.FailureThreshold, 1, 1000)
	enum(o, "heartbeats", heartbeats, &a.Heartbeats)
	enum(o, "stop_signal", contracts.StopSignals, &a.StopSignal)
	o.boolean("leave_children", &a.LeaveChildren)
	readExecution(o, &a.Execution)
	readTimes(o, a)
	if o.id("runner", &a.Runner) && a.Runner != AnyRunner {
		t.runners = append(t.runners, runnerRef{a.Runner, o.at("runner")})
	}
	enum(o, "on_return", onReturns, &a.OnReturn)
	readLabels(o, a)
	readCommand(o, a)
	if o.has("health") {
		a.Health = readHealth(o.section("health"), a)
	}
	a.Mode = o.mode("mode")
	explicit := false
	if a.Policy, a.PolicyName, explicit = o.policy("policy", f, false); !explicit {
		a.Policy, a.PolicyName = f.PolicyFor(a.Type, false, parent)
	}
	o.done(func(key string) string {
		if contains(nodeKeys, key) {
			return "it belongs to supervisors, and this is an agent because it has a command"
		}
		return ""
	})
	return t.expand(o, a, count)
}

// maxLabels bounds how many labels an agent may ask for.
const maxLabels = 32

// readLabels reads what a runner must have.
func readLabels(o *object, a *Template) {
	labels := o.section("runner_labels")
	switch {
	case len(labels.order) > maxLabels:
		labels.fail("%d labels are too many; at most %d are allowed", len(labels.order), maxLabels)
		return
	case len(labels.order) > 0 && a.Runner != AnyRunner:
		labels.fail("runner names %s, so there is nothing to choose; remove one of the two", a.Runner)
		return
	}
	labels.entries(func(name string, v value) {
		if !v.isScalar("a word") || !v.clean("a label") {
			return
		}
		if a.RunnerLabels == nil {
			a.RunnerLabels = map[string]string{}
		}
		a.RunnerLabels[name] = v.node.Value
	})
}

func readTimes(o *object, a *Template) {
	o.duration("heartbeat_interval", &a.HeartbeatInterval, contracts.MinHeartbeatInterval, contracts.MaxHeartbeatInterval)
	o.duration("start_deadline", &a.StartDeadline, time.Millisecond, longest)
	o.duration("stabilisation", &a.Stabilisation, 0, longest)
	if v, ok := o.scalar("shutdown_timeout", aDuration); ok {
		if d, err := time.ParseDuration(v.node.Value); err == nil && d == 0 {
			v.fail("0 leaves an agent no time to stop; give it some, or 1ms to kill it at once")
		} else {
			v.duration(&a.ShutdownTimeout, time.Millisecond, longest)
		}
	}
	if a.StartDeadline < a.HeartbeatInterval && (o.has("start_deadline") || o.has("heartbeat_interval")) {
		place := o.at("start_deadline")
		if !o.has("start_deadline") {
			place = o.at("heartbeat_interval")
		}
		place.fail("an agent that beats every %v cannot be sure to beat within %v of its start; set start_deadline to at least %v", a.HeartbeatInterval, a.StartDeadline, a.HeartbeatInterval)
	}
}

// readCommand reads what to run, and with what around it.
func readCommand(o *object, a *Template) {
	o.reference("dir", &a.Dir, a)
	o.reference("env_file", &a.Execution.EnvFile, a)
	readEnv(o.section("env"), a)
	v, ok := o.get("command")
	switch {
	case !ok && (a.Runner == AnyRunner || a.Heartbeats == ByRunner):
		o.fail("a command is missing; say what to run, such as command: [\"./my-agent\", \"--flag\"], or name with runner: the program that runs the agent within itself; a supervisor has children instead")
		return
	case !ok:
		return
	}
	a.Command = readWords(v, func(arg value) string { return arg.refer(a) })
}

// readWords reads a program and its arguments, of each word its text.
func readWords(v value, text func(value) string) (words []string) {
	if v.node.Kind == yaml.ScalarNode && !v.isNull() {
		v.fail("a command is a list, run without a shell; write [%s]", quoteAll(strings.Fields(clip(v.node.Value))))
		return nil
	}
	args := v.list("words")
	if len(args) == 0 {
		v.fail("the command is empty; its first word is the program to run")
	}
	if len(args) > contracts.MaxCommandArgs {
		v.fail("%d words are too many; at most %d are allowed", len(args), contracts.MaxCommandArgs)
		return nil
	}
	for i, arg := range args {
		switch {
		case !arg.clean("a word"):
		case i == 0 && arg.node.Value == "":
			arg.fail("the first word is the program to run, and it is empty")
		default:
			words = append(words, text(arg))
		}
	}
	return words
}

func quoteAll(ws []string) string { return `"` + strings.Join(ws, `", "`) + `"` }

func readEnv(o *object, a *Template) {
	if len(o.order) > contracts.MaxEnvVars {
		o.fail("%d variables are too many; at most %d are allowed", len(o.order), contracts.MaxEnvVars)
		return
	}
	o.pairs(func(key, v value) {
		name := key.node.Value
		err := contracts.ValidateVariable(name)
		switch {
		case err != nil:
			key.fail("%v", err)
		case v.clean("text"):
			if a.Env == nil {
				a.Env = map[string]string{}
			}
			a.Env[name] = v.expand()
		}
	})
}
