package config

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// readHealth reads by what an agent's runner finds out that it does not work.
func readHealth(o *object, a *Template) *contracts.HealthSpec {
	h, problems := &contracts.HealthSpec{}, len(o.d.problems)
	if v, ok := o.get("command"); ok {
		h.Command = readWords(v, func(arg value) string { return arg.node.Value })
	}
	o.text("http", &h.HTTP)
	o.text("tcp", &h.TCP)
	for _, d := range []struct {
		key string
		dst *contracts.Duration
		low time.Duration
	}{
		{"interval", &h.Interval, contracts.MinCheckInterval},
		{"timeout", &h.Timeout, contracts.MinCheckInterval},
		{"output_within", &h.OutputWithin, contracts.MinHealthBound},
		{"max_runtime", &h.MaxRuntime, contracts.MinHealthBound},
	} {
		var read time.Duration
		o.duration(d.key, &read, d.low, longest)
		*d.dst = contracts.Duration(read)
	}
	o.integer("failures", &h.Failures, 1, contracts.MaxCheckFailures)
	o.bytes("max_memory", &h.MaxMemory, contracts.MinMaxMemory)
	o.done(nil)
	if len(o.d.problems) > problems {
		return h // what is wrong is said already
	}
	if len(a.Command) == 0 {
		o.fail("it needs a command that a runner starts, and the agent runs within the program %s", a.Runner)
	} else if err := h.Validate(); err != nil {
		o.fail("%s", err)
	}
	return h
}
