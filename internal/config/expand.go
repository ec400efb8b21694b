package config

import (
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// variable looks a variable of the environment up for a reference. Where there is
// no environment, any may have a value.
func (d *decoder) variable(name string) (string, bool) {
	if d.env.all == nil {
		return "", true
	}
	text, set := d.env.all[name]
	if set {
		d.env.used[name] = true
	}
	return text, set
}

// expand returns a text with what its references stand for.
func (v value) expand() string {
	text, err := contracts.Expand(v.node.Value, v.d.variable)
	if err != nil {
		v.fail("%v", err)
	}
	if v.d.env.all == nil {
		return v.node.Value
	}
	return text
}

// refer returns a text as it is, for the agent's runner to expand: unlike an
// environment it is in the event log, so what it refers to is kept apart.
func (v value) refer(a *Template) string {
	if !strings.Contains(v.node.Value, "${") {
		return v.node.Value
	}
	a.Expand = true
	_, err := contracts.Expand(v.node.Value, func(name string) (string, bool) {
		text, set := v.d.variable(name)
		if set && v.d.env.all != nil {
			if a.Vars == nil {
				a.Vars = map[string]string{}
			}
			a.Vars[name] = text
		}
		return text, set
	})
	if err != nil {
		v.fail("%v", err)
	}
	return v.node.Value
}

// reference reads any string that its runner expands.
func (o *object) reference(key string, dst *string, a *Template) {
	if v, ok := o.scalar(key, "text"); ok && v.clean("text") {
		*dst = v.refer(a)
	}
}
