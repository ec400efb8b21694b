// Package correlation tells many silences with one cause from many deaths.
//
// When a large share of a runner's agents, of a type's, or of the whole fleet
// fall silent together, the likely cause is what they share: a network, a host,
// a release. Restarting them one by one would be a storm that heals nothing,
// and would kill agents that live on behind the fault. So there is one finding
// that names what they share; the verdicts on its members are held for a
// bounded time, in which whoever is heard again gets none; and what is left
// after that is released at a limited rate.
//
// What is promised:
//   - What is proven is never held: a proven end counts towards a finding, and
//     withdraws a verdict that is held.
//   - Every verdict that is given to it is released or withdrawn, at the latest
//     Hold and, behind as many others as the fleet can have, ReleaseWithin
//     later. Only a detector that doubts itself makes it longer.
//   - Never are more held verdicts released than the rate allows.
//   - In a group of fewer than Minimum silent agents nothing is held at all.
//
// It is pure: time is an argument, and the sizes of groups are asked of a
// Census. Its cost is proportional to the agents that are silent, not to those
// that are known.
package correlation

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Instant is a point of the detector's trusted time, which stands still while
// the detector doubts itself.
type Instant = time.Duration

// Config sets the rules. Zero fields mean the defaults named here.
type Config struct {
	// Share (0.5) of a group, and at least Minimum (5) agents, must be silent
	// at once for it to be one matter.
	Share   float64
	Minimum int
	// Window (10s) is how far apart silences that belong together may be
	// noticed. Agents that beat seldom have twice their interval.
	Window time.Duration
	// Hold (20s) is how long a verdict is held.
	Hold time.Duration
	// ReleaseRate (10) is how many held verdicts are released in a second, or
	// as many as release the whole fleet within ReleaseWithin.
	ReleaseRate float64
}

// ReleaseWithin is how long releasing verdicts on a whole fleet takes at most.
const ReleaseWithin = 30 * time.Second

// early is the part of Share from which verdicts in a group wait to see what
// becomes of the others.
const early = 20

func (c Config) withDefaults() Config {
	if c.Share == 0 {
		c.Share = 0.5
	}
	if c.Minimum == 0 {
		c.Minimum = 5
	}
	if c.Window == 0 {
		c.Window = 10 * time.Second
	}
	if c.Hold == 0 {
		c.Hold = 20 * time.Second
	}
	if c.ReleaseRate == 0 {
		c.ReleaseRate = 10
	}
	return c
}

// Validate reports every setting that cannot be meant.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Share >= 0 && c.Share <= 1, "share: %g is outside 0 to 1", c.Share)
	check(c.Minimum == 0 || c.Minimum >= 2, "minimum: %d agents cannot be silent together; at least 2", c.Minimum)
	check(c.Window >= 0, "window: %s is negative", c.Window)
	check(c.Hold >= 0, "hold: %s is negative", c.Hold)
	check(c.ReleaseRate >= 0 && !math.IsInf(c.ReleaseRate, 0), "release_rate: %g is no rate", c.ReleaseRate)
	return errors.Join(errs...)
}

// Kind is what the members of a group share.
type Kind string

// The kinds of groups, the narrowest first.
const (
	Runner Kind = "runner"
	Type   Kind = "type"
	Fleet  Kind = "fleet"
)

// Group is agents that share something. The fleet's name is empty.
type Group struct {
	Kind Kind
	Name string
}

// Census knows how many agents are watched in a group.
type Census func(Group) int

// Member is an agent, in one incarnation, and what it shares with others.
// Runner and Type may be empty.
type Member struct {
	Agent       string
	Incarnation uint64
	Runner      string
	Type        string
	Interval    time.Duration
}

// groups are those the member belongs to, the narrowest first.
func (m Member) groups() (out [3]Group, n int) {
	if m.Runner != "" {
		out[n] = Group{Runner, m.Runner}
		n++
	}
	if m.Type != "" {
		out[n] = Group{Type, m.Type}
		n++
	}
	out[n] = Group{Kind: Fleet}
	return out, n + 1
}

func (m Member) in(g Group) bool {
	switch g.Kind {
	case Runner:
		return m.Runner == g.Name
	case Type:
		return m.Type == g.Name
	}
	return true
}

// What an effect says.
type What uint8

// The effects.
const (
	// Release: the verdict on Member may be told. Held is how long it waited,
	// Finding the one that held it, or nil.
	Release What = iota + 1
	// Found: Finding has begun.
	Found
	// Over: nothing is held on account of Finding any more, and the ends that
	// belong to it are past.
	Over
)

// Effect is something to be done.
type Effect struct {
	What    What
	Member  Member
	Held    time.Duration
	Finding *Finding
}

// MaxNamed is how many members a finding names.
const MaxNamed = 20

// Finding is one silence of many.
type Finding struct {
	Group Group
	// Size is how many the group had, Silent how many of them were silent when
	// it began.
	Size, Silent int
	// Members names some of those, at most MaxNamed.
	Members []string
	// Since is when the first of them was suspected, Begun when there were
	// enough.
	Since, Begun Instant
	// What became of its members: verdicts that were held and taken back because
	// the agent was heard again, proven ends, and verdicts released.
	Back, Proven, Released int
	// Merged is set when a finding about a wider group took this one's place.
	Merged bool

	held int // silences on its account
}
