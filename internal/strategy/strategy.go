// Package strategy says what a supervisor's strategies mean: who goes along with
// a child that fails. The supervisor acts by it, and configuration and lint judge
// by it, so that they agree, and a new strategy is one entry in one table.
package strategy

import "slices"

// Strategy names what a supervisor does when a child fails.
type Strategy string

// Strategies.
const (
	OneForOne  Strategy = "one_for_one"
	OneForAll  Strategy = "one_for_all"
	RestForOne Strategy = "rest_for_one"
	// Escalate restarts nothing: the supervisor stops its children and fails
	// abnormally towards its parent.
	Escalate Strategy = "escalate"
)

// Reach is which children restart when one fails.
type Reach uint8

// Reaches.
const (
	// Unknown is the reach of what is not a strategy.
	Unknown Reach = iota
	// None: the supervisor fails instead.
	None
	// Child: the one that failed.
	Child
	// Later: it and those that started after it.
	Later
	// All: every child.
	All
)

// table is what each strategy means, in the order in which they are listed.
var table = []struct {
	Strategy
	reach Reach
}{
	{OneForOne, Child},
	{OneForAll, All},
	{RestForOne, Later},
	{Escalate, None},
}

// Strategies lists every strategy.
func Strategies() []Strategy {
	out := make([]Strategy, len(table))
	for i, row := range table {
		out[i] = row.Strategy
	}
	return out
}

// Reach returns which children restart when one fails.
func (s Strategy) Reach() Reach {
	for _, row := range table {
		if row.Strategy == s {
			return row.reach
		}
	}
	return Unknown
}

// Known reports whether it is a strategy.
func (s Strategy) Known() bool { return slices.Contains(Strategies(), s) }

// Single reports whether each child restarts by itself, so that one can be set
// apart.
func (s Strategy) Single() bool { return s.Reach() == Child }

// Escalates reports whether the supervisor fails with its first child.
func (s Strategy) Escalates() bool { return s.Reach() == None }

// Group reports whether children depend on one another: they start in order,
// stop in reverse, and restart together.
func (s Strategy) Group() bool { r := s.Reach(); return r == Later || r == All }

// First returns the first place, in start order, whose child restarts with the
// one that fails in a place above 0.
func (s Strategy) First(failed int64) int64 {
	if s.Reach() == All {
		return 0
	}
	return failed
}

// Takes reports whether the child in another place restarts with the one that
// fails.
func (s Strategy) Takes(failed, other int64) bool {
	return other == failed && !s.Escalates() || s.Group() && other >= s.First(failed)
}
