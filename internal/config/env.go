package config

import (
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// envPrefix begins every override. The rest is the section and the key in
// capitals: SMITH_FAILURE_DETECTION_PHI_THRESHOLD is
// supervision_tree.failure_detection.phi_threshold.
const envPrefix = contracts.EnvPrefix

// overrides are the environment's settings.
type overrides struct {
	// all variables, nil where there is no environment to look into.
	all     map[string]string
	vars    map[string]string
	used    map[string]bool
	offered map[string][]string // section prefix -> every variable it knows
}

func newOverrides(environ []string) *overrides {
	o := &overrides{vars: map[string]string{}, used: map[string]bool{}, offered: map[string][]string{}}
	if environ != nil {
		o.all = map[string]string{}
	}
	for _, kv := range environ {
		name, text, ok := strings.Cut(kv, "=")
		switch {
		case !ok:
			continue
		case strings.HasPrefix(name, envPrefix):
			o.vars[name] = text
		}
		o.all[name] = text
	}
	return o
}

// take gives the override of a key in the section with the prefix.
func (o *overrides) take(prefix, key string) (text, name string, ok bool) {
	name = prefix + strings.ToUpper(key)
	text, ok = o.vars[name]
	if ok {
		o.used[name] = true
	}
	return text, name, ok
}

// offer notes which keys a section knows.
func (o *overrides) offer(prefix string, keys []string) {
	for _, k := range keys {
		o.offered[prefix] = append(o.offered[prefix], prefix+strings.ToUpper(k))
	}
}

// unused reports variables that look like overrides but are none: those that
// begin like a section.
func (o *overrides) unused(d *decoder) {
	for prefix, known := range o.offered {
		for name := range o.vars {
			if strings.HasPrefix(name, prefix) && !slices.Contains(known, name) {
				d.report(Problem{File: "environment", Path: name, Message: "sets nothing; " + didYouMean(name, known)})
			}
		}
	}
}

// inUse lists the variables that override something, or that the file refers to.
func (o *overrides) inUse() []string {
	var out []string
	for name := range o.used {
		text, override := o.vars[name]
		if !override {
			text = o.all[name]
		}
		out = append(out, name+"="+text)
	}
	slices.Sort(out)
	return out
}
