package contracts

import "time"

// ProposalsRequest asks what was proposed about a node and all below it, and
// what really happened then: supervisor.proposals.
type ProposalsRequest struct {
	// Node is where; left out, it is the whole tree.
	Node string `json:"node,omitempty"`
	// From and To bound when; left out, they are the tree's beginning and now.
	From Moment `json:"from,omitzero"`
	To   Moment `json:"to,omitzero"`
	// Limit is how many, the latest; at most, and by default, 1,000.
	Limit int `json:"limit,omitempty"`
}

// ProposalsReply lists proposals, oldest first.
type ProposalsReply struct {
	Tree      string     `json:"tree"`
	From      TreeMark   `json:"from"`
	To        TreeMark   `json:"to"`
	Proposals []Proposal `json:"proposals"`
	// Total counts all in that time, Outcomes how many had which outcome.
	Total    int                     `json:"total"`
	Outcomes map[ProposalOutcome]int `json:"outcomes"`
}

// ProposalOutcome says what happened instead of what was proposed.
type ProposalOutcome string

// Outcomes. What is listed as Same, Recovered, Alive or Other is the first sign
// of the agent after the proposal.
const (
	// OutcomeSame: it was restarted, though not because of the proposal.
	OutcomeSame ProposalOutcome = "same"
	// OutcomeRecovered: the same process beat again; nothing was needed.
	OutcomeRecovered ProposalOutcome = "recovered"
	// OutcomeAlive: it beat again; whether as the same process is not known,
	// as it does not count its heartbeats.
	OutcomeAlive ProposalOutcome = "alive"
	// OutcomeOther: something else was done, such as an orderly stop.
	OutcomeOther ProposalOutcome = "other"
	// OutcomeNothing: no sign of it by the end of the time asked for, or by the
	// next proposal about it.
	OutcomeNothing ProposalOutcome = "nothing"
)

// Proposal is what would have been done, and what was.
type Proposal struct {
	At time.Time `json:"at"`
	// Decision and Sequence are where it is in the log.
	Decision uint64 `json:"decision"`
	Sequence uint64 `json:"sequence"`
	Node     string `json:"node"`
	// Action is restart, isolate, escalate, terminate, cool_off, ignore or
	// give_up, and Due when it would have been done, after a delay.
	Action string     `json:"action"`
	Due    *time.Time `json:"due,omitempty"`
	Reason string     `json:"reason"`
	// Cause is the event that led to it.
	Cause   string          `json:"cause,omitempty"`
	Outcome ProposalOutcome `json:"outcome"`
	// Really is that in a sentence, After how much later it was, and Event the
	// id of the event that tells of it.
	Really string   `json:"really"`
	After  Duration `json:"after,omitempty"`
	Event  string   `json:"event,omitempty"`
}
