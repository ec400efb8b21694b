package tree

import "strings"

// StandingOrder is an order of an operator that holds until it is taken back. It is
// kept with the node, since the log forgets. It is never changed.
type StandingOrder struct {
	// What was ordered, such as "drain" or "mode shadow".
	What string `json:"what"`
	// Reason and By are empty where the sender did not say.
	Reason string    `json:"reason,omitempty"`
	By     *Operator `json:"by,omitempty"`
	// At is when it was decided; 0 if an older program decided it.
	At Instant `json:"at,omitempty"`
	// Story begins with the decision that records it.
	Story
}

// StandingOrders are those about one node, at most one of each kind.
type StandingOrders struct {
	// Down is a terminate or a drain, Suspension a suspend, Mode another mode, and
	// Place a move.
	Down       *StandingOrder `json:"down,omitempty"`
	Suspension *StandingOrder `json:"suspension,omitempty"`
	Mode       *StandingOrder `json:"mode,omitempty"`
	Place      *StandingOrder `json:"place,omitempty"`
}

// standing returns the record of an order.
func (t *Tree) standing(in *Input) *StandingOrder {
	what, reason, _ := strings.Cut(in.Reason, ": ")
	if what == "" {
		what = string(in.Command)
	}
	return &StandingOrder{What: what, Reason: reason, By: in.By, At: t.now, Story: t.story}
}

// record changes which orders stand about a node. Copies of its state share them, so
// it is given other ones.
func (t *Tree) record(n *node, change func(*StandingOrders)) {
	var o StandingOrders
	if n.st.Orders != nil {
		o = *n.st.Orders
	}
	if change(&o); o == (StandingOrders{}) {
		n.st.Orders = nil
	} else {
		n.st.Orders = &o
	}
	t.touch(n)
}

// forgetDown drops the record of the order that brought a node down.
func (t *Tree) forgetDown(n *node) {
	if o := n.st.Orders; o != nil && o.Down != nil {
		t.record(n, func(o *StandingOrders) { o.Down = nil })
	}
}

// forgetPlace drops the record of the move of a node.
func (t *Tree) forgetPlace(n *node) {
	if o := n.st.Orders; o != nil && o.Place != nil {
		t.record(n, func(o *StandingOrders) { o.Place = nil })
	}
}

// Standing returns the orders that hold for a node. What they led to is recorded
// apart from them, and counts: each is nil unless that is still so.
func (s *State) Standing() StandingOrders {
	if s.Orders == nil {
		return StandingOrders{}
	}
	o := *s.Orders
	if ended := s.End == EndTerminated && (s.Phase == Idle || s.Phase == Gone); !ended && (s.Phase != Stopping || s.Then != ThenTerminate) {
		o.Down = nil
	}
	if s.Supervisor == nil || !s.Supervisor.Suspended {
		o.Suspension = nil
	}
	if s.Mode == nil {
		o.Mode = nil
	}
	return o
}

// ModeOrder returns the order that gave a node its mode, and the node that it was
// about; nil if the mode is configured, or nobody recorded who ordered it.
func (t *Tree) ModeOrder(id string) (of string, o *StandingOrder) {
	n := t.nodes[id]
	for n != nil && n.rollout() == nil {
		n = n.parent
	}
	if n == nil {
		return "", nil
	}
	return n.spec.ID, n.st.Standing().Mode
}

// retell makes an order about a node that runs the latest part of what led to its
// state. What is down, or comes up, keeps what led to that.
func (t *Tree) retell(n *node) {
	if n.st.Phase == Running {
		n.st.Story = t.story
		t.touch(n)
	}
}
