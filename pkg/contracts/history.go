package contracts

import "time"

// Moment is a place in a tree's past: a time, or a sequence of the event
// stream. Of both the sequence counts; the zero value means now.
type Moment struct {
	At       *time.Time `json:"at,omitempty"`
	Sequence uint64     `json:"sequence,omitempty"`
}

// IsZero tells whether the moment is now.
func (m Moment) IsZero() bool { return m.At == nil && m.Sequence == 0 }

// DiffRequest asks how a tree, or the subtree under a node, differs between two
// moments: supervisor.diff.
type DiffRequest struct {
	Node string `json:"node,omitempty"`
	From Moment `json:"from"`
	To   Moment `json:"to"`
}

// DiffReply lists what differs, ordered by node.
type DiffReply struct {
	Tree string   `json:"tree"`
	From TreeMark `json:"from"`
	To   TreeMark `json:"to"`
	// Nodes are those that differ; Same counts the others.
	Nodes []NodeDiff `json:"nodes"`
	Same  int        `json:"same"`
}

// TreeMark says which decision a view of a tree shows: the last one by then.
type TreeMark struct {
	Decision uint64    `json:"decision"`
	Sequence uint64    `json:"sequence"`
	At       time.Time `json:"at"`
}

// NodeDiff is how one node differs.
type NodeDiff struct {
	Node   string      `json:"node"`
	Change NodeChange  `json:"change"`
	Fields []FieldDiff `json:"fields,omitempty"`
}

// NodeChange is how a node differs between two moments.
type NodeChange string

// Changes of nodes between two moments.
const (
	NodeAdded   NodeChange = "added"
	NodeRemoved NodeChange = "removed"
	NodeChanged NodeChange = "changed"
)

// FieldDiff is one field of a node's view before and after, as text; empty
// where it has none.
type FieldDiff struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// RehearseRequest asks what a tree would have done under another
// configuration: supervisor.rehearse.
type RehearseRequest struct {
	ConfigText
	// Name is what messages call the file.
	Name string `json:"name,omitempty"`
	// From and To bound the part of the past; left out, they are the tree's
	// beginning and now.
	From Moment `json:"from,omitzero"`
	To   Moment `json:"to,omitzero"`
	// Beyond says what becomes of starts that the record has no counterpart
	// for: run (default) lets them run on, repeat lets them end as the agent's
	// last recorded incarnation did.
	Beyond string `json:"beyond,omitempty"`
}

// RehearseReply sets what was decided beside what would have been.
type RehearseReply struct {
	Tree string   `json:"tree"`
	From TreeMark `json:"from"`
	To   TreeMark `json:"to"`
	// Decisions is how many recorded decisions were rehearsed.
	Decisions int `json:"decisions"`
	// Faithful is set when the recorded inputs, decided on again under the
	// recorded configuration, gave the recorded decisions exactly; otherwise
	// Deviation is the number of the first that came out differently.
	Faithful  bool            `json:"faithful"`
	Deviation uint64          `json:"deviation,omitempty"`
	Recorded  RehearsalTotals `json:"recorded"`
	Rehearsed RehearsalTotals `json:"rehearsed"`
	// Agents are those that were restarted or down on either side, those whose
	// downtime differs most first; at most 500. Others counts the rest.
	Agents []RehearsalAgent `json:"agents,omitempty"`
	Others int              `json:"others"`
	// First is the first decision that differs; nil when none does.
	First *RehearsalDifference `json:"first,omitempty"`
	// Assumed counts what the record could not tell and was assumed.
	Assumed RehearsalAssumed `json:"assumed"`
}

// RehearsalTotals are one side's figures, of the whole tree.
type RehearsalTotals struct {
	Starts   int `json:"starts"`
	Restarts int `json:"restarts"`
	// Isolations is how often a child was set apart.
	Isolations  int `json:"isolations"`
	Escalations int `json:"escalations"`
	GiveUps     int `json:"give_ups"`
	// Proposals is what would have been done where the mode is shadow.
	Proposals int `json:"proposals"`
	// Downtime sums the agents' times without service, Waiting the part of it
	// that was spent in backoff, cool-off and in wait for restart budget or a
	// runner.
	Downtime Duration `json:"downtime"`
	Waiting  Duration `json:"waiting"`
	// BudgetWaits is how many restarts had to wait for restart budget, those
	// under way at the beginning included, and BudgetWaited the part of Waiting
	// that was spent on it.
	BudgetWaits  int      `json:"budget_waits"`
	BudgetWaited Duration `json:"budget_waited"`
	// Down is how many agents are down at the end that should be up.
	Down int `json:"down"`
}

// RehearsalAgent sets an agent's figures side by side.
type RehearsalAgent struct {
	Agent     string        `json:"agent"`
	Recorded  RehearsalLife `json:"recorded"`
	Rehearsed RehearsalLife `json:"rehearsed"`
}

// RehearsalLife is how one agent fared on one side.
type RehearsalLife struct {
	Starts   int      `json:"starts"`
	Restarts int      `json:"restarts"`
	Downtime Duration `json:"downtime"`
	Waiting  Duration `json:"waiting"`
	// BudgetWaits and BudgetWaited are as in [RehearsalTotals].
	BudgetWaits  int      `json:"budget_waits"`
	BudgetWaited Duration `json:"budget_waited"`
	// Phase is where it is at the end; empty when the tree has no such agent.
	Phase string `json:"phase,omitempty"`
}

// RehearsalDifference is the first decision that differs.
type RehearsalDifference struct {
	At time.Time `json:"at"`
	// Decision and Sequence are the recorded one's; 0 when nothing was
	// decided then.
	Decision uint64 `json:"decision,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	// Inputs say upon what; Recorded and Rehearsed list what was and what
	// would have been decided, without what is the same.
	Inputs    []string `json:"inputs,omitempty"`
	Recorded  []string `json:"recorded,omitempty"`
	Rehearsed []string `json:"rehearsed,omitempty"`
}

// RehearsalAssumed counts assumptions. All zero means that all of the
// rehearsal's inputs are recorded facts.
type RehearsalAssumed struct {
	// Shifted counts inputs that were recorded of the same incarnation but
	// come at another time, as that incarnation starts at another time.
	Shifted int `json:"shifted"`
	// Starts counts starts that the record has no incarnation for.
	Starts int `json:"starts"`
	// Unended counts incarnations that were stopped in the record and go on in
	// the rehearsal.
	Unended int `json:"unended"`
	// Stops counts stops whose duration the record does not tell.
	Stops int `json:"stops"`
	// Dropped counts recorded inputs that never come, as what they are about
	// is not there.
	Dropped int `json:"dropped"`
}
