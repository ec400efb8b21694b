package config

import (
	"go.yaml.in/yaml/v4"
)

// Mode is the mode of supervision of a subtree: Enforce percent of its agents,
// chosen by their names, are enforced, the others are in mode Otherwise.
type Mode struct {
	Enforce   int
	Otherwise ModeName
}

// ModeName says what comes of decisions about an agent.
type ModeName string

// Nothing is decided; it is decided and told as a proposal; or it is done.
const (
	ModeOff     ModeName = "off"
	ModeShadow  ModeName = "shadow"
	ModeEnforce ModeName = "enforce"
)

var (
	modeNames  = []ModeName{ModeOff, ModeShadow, ModeEnforce}
	otherwises = []ModeName{ModeOff, ModeShadow}
)

// mode reads a mode: a word, or a share such as {enforce: 25, otherwise: shadow}.
func (o *object) mode(key string) *Mode {
	v, ok := o.get(key)
	if !ok {
		return nil
	}
	if v.node.Kind != yaml.MappingNode {
		var name ModeName
		if !enum(o, key, modeNames, &name) {
			return nil
		}
		if name == ModeEnforce {
			return &Mode{Enforce: 100}
		}
		return &Mode{Otherwise: name}
	}
	m := &Mode{Otherwise: ModeShadow}
	s := v.object()
	s.integer("enforce", &m.Enforce, 0, 100)
	enum(s, "otherwise", otherwises, &m.Otherwise)
	if !s.has("enforce") {
		s.fail("say how many percent of the agents are enforced, such as {enforce: 25, otherwise: shadow}, or write one of off, shadow, enforce")
	}
	if m.Enforce == 100 {
		if s.has("otherwise") {
			s.at("otherwise").fail("nobody is left with enforce: 100; write mode: enforce, or a smaller share")
		}
		m.Otherwise = ""
	}
	s.done(nil)
	return m
}
