package config

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// readPolicies reads the named restart policies. What one leaves out is as in
// the file's "default", or else as built in for agents.
func readPolicies(o *object, f *File) {
	base := map[string]RestartPolicy{DefaultName: DefaultWorkerPolicy()}
	readNamed(o, base, readPolicy)
	if !o.has(DefaultName) {
		delete(base, DefaultName)
	}
	f.RestartPolicies = base
}

func readPolicy(o *object, p *RestartPolicy) {
	o.integer("max_restarts", &p.MaxRestarts, 0, 10_000)
	o.duration("time_window", &p.TimeWindow, time.Millisecond, longest)
	o.duration("restart_delay", &p.Delay, 0, longest)
	p.ResetAfter = p.TimeWindow
	o.duration("reset_after", &p.ResetAfter, 0, longest)
	readBackoff(o.section("backoff_strategy"), p)
	o.done(nil)
}

// readBackoff reads the growth of delays. Keys that have no meaning for the
// type are problems, since whoever wrote them expects something of them.
func readBackoff(o *object, p *RestartPolicy) {
	b := &p.Backoff
	typ := b.Type
	known := enum(o, "type", backoffTypes, &typ)
	if known && typ != b.Type {
		*b = Backoff{Type: typ, Jitter: b.Jitter}
	}
	for key, types := range map[string][]BackoffType{
		"increment": {Linear},
		"base":      {Exponential},
		"max_delay": {Linear, Exponential, Fibonacci},
	} {
		if o.has(key) && !contains(types, b.Type) && (known || !o.has("type")) {
			o.at(key).fail("%s has no meaning for %s backoff; remove it, or set type to %s", key, b.Type, orWords(types))
		}
	}
	o.duration("increment", &b.Increment, 0, longest)
	o.number("base", &b.Base, 1, 100)
	o.duration("max_delay", &b.MaxDelay, time.Millisecond, longest)
	o.number("jitter", &b.Jitter, 0, 1)
	b.fill(p.Delay)
	if !o.has("max_delay") && b.Type != Fixed {
		b.MaxDelay = max(b.MaxDelay, p.Delay)
	}
	if b.Type != Fixed && b.MaxDelay < p.Delay {
		o.at("max_delay").fail("max_delay %v is below restart_delay %v; raise it or lower the other", b.MaxDelay, p.Delay)
	}
	o.done(nil)
}

// fill gives what a type needs and the file left out.
func (b *Backoff) fill(delay time.Duration) {
	switch {
	case b.Type == Linear && b.Increment == 0:
		b.Increment = delay
	case b.Type == Exponential && b.Base == 0:
		b.Base = DefaultWorkerPolicy().Backoff.Base
	}
	if b.Type != Fixed && b.MaxDelay == 0 {
		b.MaxDelay = DefaultWorkerPolicy().Backoff.MaxDelay
	}
	if b.Type == Fixed {
		b.MaxDelay = 0
	}
}

// policy reads a node's or agent's policy: a name, or a mapping in place. It
// tells whether there is one.
func (o *object) policy(key string, f *File, supervisor bool) (p RestartPolicy, name string, ok bool) {
	v, given := o.get(key)
	if !given {
		return p, "", false
	}
	if v.node.Kind == yaml.MappingNode {
		p, _ = f.PolicyFor("", supervisor, nil)
		readPolicy(v.object(), &p)
		return p, "", true
	}
	if v.node.Kind != yaml.ScalarNode || v.isNull() {
		v.fail("the name of a restart policy or a mapping is needed, not %s", v.kind())
		return p, "", false
	}
	if p, ok := f.RestartPolicies[v.node.Value]; ok {
		return p, v.node.Value, true
	}
	v.fail("there is no restart policy %q; %s", clip(v.node.Value), didYouMeanPolicy(v.node.Value, f))
	return p, "", false
}

func didYouMeanPolicy(name string, f *File) string {
	known := make([]string, 0, len(f.RestartPolicies))
	for k := range f.RestartPolicies {
		known = append(known, k)
	}
	if len(known) == 0 {
		return "define it under supervision_tree.restart_policies"
	}
	return didYouMean(name, known)
}

func contains[T comparable](all []T, v T) bool {
	for _, a := range all {
		if a == v {
			return true
		}
	}
	return false
}

// orWords lists alternatives: "a, b or c".
func orWords[T ~string](all []T) string {
	s := string(all[0])
	for i, t := range all[1:] {
		if i == len(all)-2 {
			s += " or " + string(t)
		} else {
			s += ", " + string(t)
		}
	}
	return s
}
