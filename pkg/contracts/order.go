package contracts

import (
	"strconv"
	"strings"
	"time"
)

// OrderOptions are part of every order to the supervisor.
type OrderOptions struct {
	// Token names the order. One that is given again under its token, of
	// another supervisor too, is carried out once and answered when it is done.
	// Without a token the supervisor chooses one.
	Token string `json:"token,omitempty"`
	// Wait is how long to wait for the order's end before the reply says that it
	// is under way; 20 s at most, which is the default.
	Wait Duration  `json:"wait,omitempty"`
	By   *Operator `json:"by,omitempty"`
}

// Order returns the options of an order.
func (o *OrderOptions) Order() *OrderOptions { return o }

// OrderReply is the reply to an order. An order that is refused or that fails is
// answered with an error instead.
type OrderReply struct {
	// OK is true: what is ordered is stored, and is carried out or done.
	OK bool `json:"ok"`
	// UnderWay is set while it is not done; ask again with the Token to learn of
	// its end.
	UnderWay bool   `json:"under_way,omitempty"`
	Token    string `json:"token,omitempty"`
	// Status is the node's, and Left counts the agents at and below it that are
	// waited for, while the order is under way.
	Status NodeStatus `json:"status,omitempty"`
	Left   int        `json:"left,omitempty"`
	// Awaits says what one of those agents has yet to do.
	Awaits string `json:"awaits,omitempty"`
	// Warning says that it is under way and why the reply does not wait longer; or,
	// when a template is scaled, which of the instances that were kept do not run.
	Warning string `json:"warning,omitempty"`
}

// NodeRequest names a node: supervisor.status, remove, restart, terminate,
// suspend, resume.
type NodeRequest struct {
	Node string `json:"node"`
	// Reason is recorded with the decision.
	Reason string `json:"reason,omitempty"`
	OrderOptions
}

// Operator is the sender of an order, as it describes itself; nothing vouches
// for it. It is recorded with the decision. Of each part the first 64 bytes
// count.
type Operator struct {
	User    string `json:"user,omitempty"`
	Host    string `json:"host,omitempty"`
	Program string `json:"program,omitempty"`
}

// String returns it as USER@HOST with PROGRAM, as far as known.
func (o *Operator) String() string {
	who := o.User
	if o.Host != "" {
		who += "@" + o.Host
	}
	if o.Program != "" {
		who = strings.TrimSpace(who + " with " + o.Program)
	}
	return who
}

// ScaleRequest gives a template of the configuration another count, until that
// of the configuration changes.
type ScaleRequest struct {
	Template string `json:"template"`
	Count    int    `json:"count"`
	Reason   string `json:"reason,omitempty"`
	OrderOptions
}

// MoveRequest puts an agent or supervisor, with all below it, under another
// supervisor. What runs, runs on.
type MoveRequest struct {
	Node string `json:"node"`
	// Parent is the supervisor that it is to be under.
	Parent string `json:"parent"`
	Reason string `json:"reason,omitempty"`
	OrderOptions
}

// ModeRequest gives a node, and all below it that has no setting of its own,
// another mode of supervision: supervisor.mode.
type ModeRequest struct {
	Node string `json:"node"`
	// Mode is off, shadow, enforce, or inherit to take back what was set at
	// run time.
	Mode string `json:"mode"`
	// Percent of the agents are enforced, chosen by their names alone, the
	// others are in mode Otherwise (shadow, or off). Only with enforce; 0
	// means 100.
	Percent   int    `json:"percent,omitempty"`
	Otherwise string `json:"otherwise,omitempty"`
	Reason    string `json:"reason,omitempty"`
	OrderOptions
}

// AddRequest adds an agent under a supervisor node.
type AddRequest struct {
	Parent string    `json:"parent"`
	Child  ChildSpec `json:"child"`
	OrderOptions
}

// StandingOrder is an order of an operator that holds until another takes it back.
// The supervisor remembers it with the node, however long ago it was.
type StandingOrder struct {
	// Node is the one that it was given for.
	Node string `json:"node"`
	// Order is what was ordered: terminate, drain, suspend, "mode MODE" or "move to
	// PARENT".
	Order string `json:"order"`
	// Reason and By are left out where the sender did not say, At and Decision, the
	// id of the event that records it, where an older supervisor did not keep them.
	Reason   string     `json:"reason,omitempty"`
	By       *Operator  `json:"by,omitempty"`
	At       *time.Time `json:"at,omitempty"`
	Decision string     `json:"decision,omitempty"`
}

// String returns it as ORDER, "REASON", by USER@HOST with PROGRAM at TIME, as far as
// known. It may quote what operators typed.
func (o StandingOrder) String() string {
	s := o.Order
	if o.Reason != "" {
		s += ", " + strconv.Quote(o.Reason)
	}
	if o.By != nil {
		s += ", by " + o.By.String()
	}
	if o.At != nil {
		s += " at " + o.At.UTC().Format("2006-01-02T15:04:05Z")
	}
	return s
}
