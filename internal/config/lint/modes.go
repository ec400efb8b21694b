package lint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/strategy"
)

// Rules about modes.
const (
	// EmptyShare: by their names all or none of the agents are in a share.
	EmptyShare Rule = "empty-share"
	// SplitGroup: only some of a group are enforced.
	SplitGroup Rule = "split-group"
)

// enforced reports whether an agent is in the share of a mode: the supervisor
// chooses by the first eight bytes of the name's SHA-256, modulo 100.
func enforced(m *config.Mode, agent string) bool {
	if m == nil || m.Enforce >= 100 {
		return true
	}
	sum := sha256.Sum256([]byte(agent))
	return int(binary.BigEndian.Uint64(sum[:8])%100) < m.Enforce
}

// coverage is the agents that a mode counts for.
type coverage struct {
	setting   string
	mode      *config.Mode
	all, ours int
}

// modes goes through the tree with the mode that counts, and gives for each mode
// of the file what it covers.
func (c *checker) modes() []*coverage {
	var out []*coverage
	cover := func(setting string, m *config.Mode) *coverage {
		v := &coverage{setting: setting, mode: m}
		out = append(out, v)
		return v
	}
	var walk func(s *sup, by *coverage)
	walk = func(s *sup, by *coverage) {
		if s.Mode != nil {
			by = cover(s.key("mode"), s.Mode)
		}
		for _, child := range s.Children {
			if child.Agent == nil {
				continue
			}
			a, own := child.Agent, by
			if a.Mode != nil {
				// The instances of a template share one setting.
				if own = cover(a.Setting+".mode", a.Mode); len(out) > 1 && out[len(out)-2].setting == own.setting {
					out = out[:len(out)-1]
					own = out[len(out)-1]
				}
			}
			if own == nil {
				continue
			}
			own.all++
			if enforced(own.mode, a.Name) {
				own.ours++
			}
		}
		for _, k := range s.kids {
			if k.sup != nil {
				walk(k.sup, by)
			}
		}
	}
	walk(c.root, nil)
	return out
}

func (c *checker) emptyShare() {
	for _, v := range c.modes() {
		share := v.mode.Enforce > 0 && v.mode.Enforce < 100
		switch {
		case !share || v.all == 0 || v.ours > 0 && v.ours < v.all:
			continue
		case v.ours == 0:
			c.warn(v.setting, fmt.Sprintf("raise the share until smith tree shows some, or write mode: %s", v.mode.Otherwise),
				"agents are chosen by their names, and of %s that this counts for %d%% chooses none: all are in mode %s", many(v.all, "agent"), v.mode.Enforce, v.mode.Otherwise)
		default:
			c.warn(v.setting, "lower the share, or write mode: enforce",
				"agents are chosen by their names, and of %s that this counts for %d%% chooses all: none is in mode %s", many(v.all, "agent"), v.mode.Enforce, v.mode.Otherwise)
		}
	}
}

func (c *checker) splitGroup() {
	var walk func(s *sup, m *config.Mode)
	walk = func(s *sup, m *config.Mode) {
		if s.Mode != nil {
			m = s.Mode
		}
		ours, others := "", []string(nil)
		for _, child := range s.Children {
			switch a := child.Agent; {
			case a == nil:
			case enforced(modeOf(a, m), a.Name):
				if ours == "" {
					ours = a.Name
				}
			case ours == "" && s.Strategy.Reach() == strategy.Later: // it starts before those that restart
			default:
				others = append(others, a.Name)
			}
		}
		if s.group() && ours != "" && len(others) > 0 {
			setting := s.Setting
			if c.f.Gives(s.key("mode")) {
				setting = s.key("mode")
			}
			c.warn(setting, "give the whole group one mode",
				"%q restarts its children as a group (%s), but only some are enforced: when %q fails and the others restart, nothing is done to %s", s.Name, s.Strategy, ours, list(others))
		}
		for _, k := range s.kids {
			if k.sup != nil {
				walk(k.sup, m)
			}
		}
	}
	walk(c.root, nil)
}

func modeOf(a *config.Agent, inherited *config.Mode) *config.Mode {
	if a.Mode != nil {
		return a.Mode
	}
	return inherited
}
