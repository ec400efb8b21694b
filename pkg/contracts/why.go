package contracts

import "time"

// --- why: supervisor.why tells the state of a node, eventstore.why what led to it

// WhyRequest asks what led to the state of an agent or a supervisor node:
// eventstore.why. Only the name is needed. With what supervisor.why answers about
// it, the chain of a node that does not run is found, too.
type WhyRequest struct {
	Agent string `json:"agent"`
	Tree  string `json:"tree,omitempty"`
	// Incarnation, Cause, Chain, Decision and Since are those of Diagnosis.
	Incarnation uint64     `json:"incarnation,omitempty"`
	Cause       string     `json:"cause,omitempty"`
	Chain       string     `json:"chain,omitempty"`
	Decision    string     `json:"decision,omitempty"`
	Since       *time.Time `json:"since,omitempty"`
}

// WhyReply is the causal chain of a node's state, oldest first: what led to an
// agent's last start or end, and what was decided since.
type WhyReply struct {
	Agent string    `json:"agent"`
	Chain []WhyLink `json:"chain"`
	// Complete is false when the beginning is no longer stored.
	Complete bool   `json:"complete"`
	Note     string `json:"note,omitempty"`
}

// WhyLink is one link of the chain.
type WhyLink struct {
	Sequence    uint64    `json:"sequence,omitempty"`
	Time        time.Time `json:"time"`
	Type        EventType `json:"type"`
	ID          string    `json:"id"`
	Entity      string    `json:"entity"`
	Incarnation uint64    `json:"incarnation,omitempty"`
	// Evidence is one sentence for people. It may quote what agents print.
	Evidence string `json:"evidence"`
	// Of a decision: Effect is what it did about Node, Due when a wait that it
	// began ends, and By the sender of the order that it was upon.
	Effect string     `json:"effect,omitempty"`
	Node   string     `json:"node,omitempty"`
	Due    *time.Time `json:"due,omitempty"`
	By     *Operator  `json:"by,omitempty"`
}
