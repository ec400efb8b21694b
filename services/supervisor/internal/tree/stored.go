package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Version is the form in which this program stores changes and snapshots. It
// reads what was stored in an older one:
//
//	1  An agent whose start waits for budget or for a runner is "starting".
//	   How a node ended is told by its words, and whether its host was lost.
//	2  It is "throttled" or "unplaced". How a node ended is its [End]. A number
//	   says that an end waits for its supervisor, and a flag that an agent is
//	   reported as unverified.
//	3  Such nodes are "ended" and "unverified".
const Version = 3

// ErrVersion tells that something was stored in a form that this program does
// not know.
var ErrVersion = errors.New("stored by a newer program")

// CheckVersion reports why a form cannot be read, or nil. The oldest programs
// stored no version, which is 0 here.
func CheckVersion(version int) error {
	if version > Version {
		return fmt.Errorf("%w: in form %d, and this one reads forms up to %d; use a program that reads form %d", ErrVersion, version, Version, version)
	}
	return nil
}

// ReadChange reads the change of a node as it was stored in a form; null
// removes the node.
func ReadChange(version int, id string, raw []byte) (Change, error) {
	c := Change{ID: id}
	if err := CheckVersion(version); err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, err
	}
	c.Removed = c.Removed || string(raw) == "null"
	return c, migrate(version, c.State, raw)
}

// ReadRecord reads a node of a snapshot as it was stored in a form.
func ReadRecord(version int, raw []byte) (*Record, error) {
	if err := CheckVersion(version); err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	return &r, migrate(version, r.State, raw)
}

// migrate brings a state into the present form. Raw is the change or record that
// holds it.
func migrate(version int, s *State, raw []byte) error {
	if s == nil {
		return nil
	}
	unexplained := s.Supervisor != nil && s.Supervisor.Suspended && s.Standing().Suspension == nil
	if version >= Version && !unexplained {
		return nil
	}
	var was struct{ State former }
	if err := json.Unmarshal(raw, &was); err != nil {
		return err
	}
	if unexplained {
		s.migrateSuspension(was.State)
	}
	if version >= Version {
		return nil
	}
	if version < 2 {
		s.migrateStarting()
		s.migrateEnd(was.State)
	}
	s.migrateWaiting(was.State)
	return nil
}

// former is what only older forms say of a state.
type former struct {
	// Lost: it ended with its host. Normal: it ended without a failure, and its
	// supervisor has not dealt with that yet.
	Lost, Normal bool
	// Ended is the place in line of an end that its supervisor has not dealt with.
	Ended uint64
	// Overdue: it is to be reported as unverified.
	Overdue bool
	// Supervisor says who suspended it, after what was ordered and why. Programs of
	// the third form did so, too.
	Supervisor struct {
		SuspendedBy string `json:"suspended_by"`
	}
}

// migrateSuspension reads who suspended a supervisor.
func (s *State) migrateSuspension(was former) {
	said := was.Supervisor.SuspendedBy
	if said == "" {
		return
	}
	var by *Operator
	if i := strings.LastIndex(said, ", by "); i >= 0 {
		said, by = said[:i], &Operator{User: said[i+len(", by "):]}
	}
	what, reason, _ := strings.Cut(said, ": ")
	o := s.Standing()
	o.Suspension = &StandingOrder{What: what, Reason: reason, By: by}
	s.Orders = &o
}

// migrateStarting names what an agent's start waits for.
func (s *State) migrateStarting() {
	switch {
	case s.Phase != Starting || s.Supervisor != nil:
	case s.Ticket > 0:
		s.Phase, s.Why = Throttled, ""
	case s.Runner == "":
		s.Phase, s.Why = Unplaced, ""
	}
}

// migrateWaiting names what a number and a flag said.
func (s *State) migrateWaiting(was former) {
	switch {
	case s.Phase == Idle && was.Ended > 0:
		s.Phase, s.Ticket = Ended, was.Ended
	case was.Overdue && (s.Phase == Verifying || s.Phase == Stabilising):
		s.Phase, s.Due = Unverified, 0
	}
	if s.Supervisor != nil && s.Phase == Idle && s.End == EndTerminated {
		s.End, s.Why = EndStopped, whyService // also if the process had ended, which was not told apart
	}
	if s.Renewal != nil && s.Renewal.Roll > 0 {
		s.Renewal.Turn = TurnWaits
	}
}

// migrateRolling gives the agents that an older form lists as being restarted
// their part in it.
func (t *Tree) migrateRolling() {
	r := t.rolling()
	if r == nil {
		return
	}
	for _, c := range r.Now {
		if n := t.nodes[c.Node]; n != nil && n.spec.Agent != nil {
			t.renew(n, func(w *Renewal) { w.Turn, w.Roll = TurnNow, c.Incarnation })
		}
	}
	if len(r.Now) > 0 {
		t.root.st.Supervisor.Rolling = r.clone()
		t.root.st.Supervisor.Rolling.Now = nil
	}
}

// migrateEnd reads how a node ended from what the first form says.
func (s *State) migrateEnd(was former) {
	if !s.Phase.ends() || s.Why == "" {
		return
	}
	switch {
	case was.Lost:
		s.End = EndLost
	case s.Phase == Stopping && s.Then == ThenFail:
		s.End = EndFailed
	case s.Phase == Stopping && s.Then == ThenStartFailed:
		s.End = EndStartFailed
	case s.Why == whyTerminated:
		s.End = EndTerminated
	case s.Why == whyGaveUp:
		s.End = EndGaveUp
	case s.Why == whyOrdered, s.Phase == Stopping && s.Supervisor == nil:
		s.End = EndStopped
	case s.Supervisor != nil && was.Ended > 0 && !was.Normal:
		s.End = EndEscalated
	case s.Supervisor != nil:
		s.End = EndShutdown
	case s.Why == whyFinished:
		s.End = EndFinished
	case was.Normal:
		s.End = EndCompleted
	default:
		s.End = EndExited
	}
}
