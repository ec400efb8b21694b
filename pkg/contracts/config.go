package contracts

import (
	"fmt"
	"reflect"
	"time"
)

// ConfigRequest offers a configuration: supervisor.plan shows what it would
// change, supervisor.apply applies it.
type ConfigRequest struct {
	ConfigText
	// Name is what messages call the file.
	Name string `json:"name,omitempty"`
	// Source says where the file is, as HOST:PATH. What was last read from it is
	// remembered.
	Source string `json:"source,omitempty"`
	// Plan is that of an earlier answer: the configuration is applied only if
	// it still changes what that plan says, see [PlannedChange.Binding].
	Plan string `json:"plan,omitempty"`
	// MaxUnavailable is how many agents may be restarted at once, 1 if left
	// out; Keep restarts none.
	MaxUnavailable int  `json:"max_unavailable,omitempty"`
	Keep           bool `json:"keep,omitempty"`
	// Joining is set by a supervisor that starts while another decides: its file
	// is applied only if it was edited since it was last read.
	Joining bool      `json:"joining,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	By      *Operator `json:"by,omitempty"`
}

// ConfigPlan is what a configuration changes, and whether it was applied.
type ConfigPlan struct {
	Tree string `json:"tree"`
	// Decision is the number of the decision that it was made against; Plan
	// stands for its content.
	Decision uint64 `json:"decision"`
	Plan     string `json:"plan,omitempty"`
	// Applied is set when the configuration is in force now. Note says why it
	// is not, where nothing is wrong with it.
	Applied bool   `json:"applied"`
	Note    string `json:"note,omitempty"`
	// Problems say what is wrong with the configuration; nothing is changed
	// then.
	Problems []ConfigProblem `json:"problems,omitempty"`
	// Changes are at most [MaxPlannedChanges], Others counts the rest and Same
	// the nodes that do not change.
	Changes []PlannedChange `json:"changes"`
	Others  int             `json:"others,omitempty"`
	Same    int             `json:"same"`
	// Scaled are the templates that keep the count which an operator has ordered: the
	// configuration has the count that it had before.
	Scaled []ScaledTemplate `json:"scaled,omitempty"`
	// Elsewhere are the sections that differ and that other services read when
	// they start.
	Elsewhere []string `json:"elsewhere,omitempty"`
	// Rolling is the rolling restart that it began.
	Rolling *RollingView `json:"rolling,omitempty"`
}

// MaxPlannedChanges bounds the changes that a plan lists.
const MaxPlannedChanges = 500

// MaxAfter bounds the agents that a planned start is said to wait for.
const MaxAfter = 4

// PlanChange is how a node differs from what it is.
type PlanChange string

// Changes of nodes.
const (
	PlanAdded   PlanChange = "added"
	PlanRemoved PlanChange = "removed"
	PlanMoved   PlanChange = "moved"
	PlanChanged PlanChange = "changed"
	// PlanOutdated: the node is as it was, and its agent still runs what an
	// earlier configuration said.
	PlanOutdated PlanChange = "outdated"
	// PlanDue: the node is as it was, and no longer waits, as what it has waited for
	// since it failed is changed.
	PlanDue PlanChange = "due"
)

// Consequence is what comes of a change.
type Consequence string

// Consequences.
const (
	// WillStart, WillStop and WillRestart: the agent or subtree is started,
	// stopped, or restarted when its turn comes.
	WillStart   Consequence = "started"
	WillStop    Consequence = "stopped"
	WillRestart Consequence = "restarted"
	// AtOnce: it takes effect without a restart. AtNextStart: it takes effect
	// when the agent is started the next time.
	AtOnce      Consequence = "at once"
	AtNextStart Consequence = "at its next start"
	// RunsAlready: the agent runs what is configured now, from before it was changed.
	RunsAlready Consequence = "it runs that already"
	// StaysOutdated: the agent is left running what it runs.
	StaysOutdated Consequence = "left running, outdated"
	// StaysDown: it waited to be started again, and no longer is to be.
	StaysDown Consequence = "stays down"
	// WithItsSupervisor: it starts when its supervisor does.
	WithItsSupervisor Consequence = "starts with its supervisor"
	// NothingRuns: there is nothing to stop.
	NothingRuns Consequence = "forgotten"
)

// PlannedChange is what a configuration changes of one node.
type PlannedChange struct {
	Node string `json:"node"`
	// Kind is supervisor or agent.
	Kind   string     `json:"kind"`
	Change PlanChange `json:"change"`
	// Then is what comes of it as the node is now; an agent that is being restarted
	// when the configuration is applied may have that of one that runs.
	Then Consequence `json:"then"`
	// Interrupts is set where it stops or restarts the agent, if that is up when the
	// configuration is applied: it is now, or comes up by itself.
	Interrupts bool `json:"interrupts,omitempty"`
	// From and To are the supervisors that a moved node leaves and comes to.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Fields are the settings that differ. Environments are not shown.
	Fields []FieldDiff `json:"fields,omitempty"`
	// After are agents that the configuration removes and that end before this one
	// is started, at most [MaxAfter] of them, in order of their names.
	After []string `json:"after,omitempty"`
	// Alone is the supervisor of a group whose member is restarted alone: what would
	// be restarted with it after a failure continues to run.
	Alone string `json:"alone,omitempty"`
}

// Binding returns the part of a planned change that must still hold when the
// configuration is applied: what changes, and whether that stops or restarts an agent
// that is up. What an agent does at the moment is not part of it, such as waiting for its
// restart: of agents that keep failing it is never the same twice. It reports whether
// there is such a part.
func (c PlannedChange) Binding() (PlannedChange, bool) {
	c.Then, c.After, c.Alone = "", nil, ""
	switch c.Change {
	case PlanDue:
		return c, false
	case PlanOutdated:
		return c, c.Interrupts
	}
	return c, true
}

// Exceeding returns those of some planned changes that other ones, which somebody has
// agreed to, do not cover: another change, or one that interrupts an agent which was not
// to be.
func Exceeding(changes, agreed []PlannedChange) []PlannedChange {
	covered := make(map[string]PlannedChange, len(agreed))
	for _, c := range agreed {
		if c, binds := c.Binding(); binds {
			covered[c.Node] = c
		}
	}
	var out []PlannedChange
	for _, change := range changes {
		c, binds := change.Binding()
		was, known := covered[c.Node]
		c.Interrupts = c.Interrupts || was.Interrupts // doing less is covered
		if binds && !(known && reflect.DeepEqual(c, was)) {
			out = append(out, change)
		}
	}
	return out
}

// ConfigProblem is one thing that is wrong with a configuration. Line and
// Column count from 1, and are 0 where no place is to blame.
type ConfigProblem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Setting string `json:"setting,omitempty"`
	Message string `json:"message"`
	// Later is set where nothing is wrong but that something is under way.
	Later bool `json:"later,omitempty"`
}

// Place is where the problem is: file:line:column, as far as known.
func (p ConfigProblem) Place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// RollRequest restarts the agents at and below a node, or the outdated ones
// among them, a few at a time: supervisor.roll. No node means the root.
type RollRequest struct {
	Node           string    `json:"node,omitempty"`
	Outdated       bool      `json:"outdated,omitempty"`
	MaxUnavailable int       `json:"max_unavailable,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	By             *Operator `json:"by,omitempty"`
}

// RebalanceRequest moves agents that may run anywhere from the fullest runners to
// the emptiest, a few at a time: supervisor.rebalance.
type RebalanceRequest struct {
	// Node limits it to the agents at and below a node; left out, it is the root.
	Node string `json:"node,omitempty"`
	// DryRun only answers what would be moved.
	DryRun bool `json:"dry_run,omitempty"`
	// MaxUnavailable is how many agents may be down for it at once; 0 means 1.
	MaxUnavailable int       `json:"max_unavailable,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	By             *Operator `json:"by,omitempty"`
}

// RebalanceReply is what is moved. A runner is chosen when an agent starts, so it
// may be another than planned.
type RebalanceReply struct {
	Moves   []Relocation `json:"moves"`
	Rolling RollingView  `json:"rolling"`
}

// Relocation is an agent that goes from one runner to another.
type Relocation struct {
	Agent string `json:"agent"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// RollingRequest asks how far a rolling restart is: supervisor.rolling. With the ID
// that began it, the answer is about that one, also when it is over.
type RollingRequest struct {
	ID string `json:"id,omitempty"`
}

// RollingState is how far a rolling restart is.
type RollingState string

// States of rolling restarts.
const (
	// RollingNone: none is under way, the last one is done.
	RollingNone    RollingState = "none"
	RollingOn      RollingState = "under_way"
	RollingStopped RollingState = "stopped"
	// RollingSuperseded: another configuration was applied before it was done, or an
	// order took out an agent that was not verified yet.
	RollingSuperseded RollingState = "superseded"
	// RollingFailed: it is done, but for agents that the configuration added and
	// that could not be verified.
	RollingFailed RollingState = "failed"
)

// MaxRollingNames bounds the agents that a RollingView names.
const MaxRollingNames = 100

// RollingView is a rolling restart as operators see it.
type RollingView struct {
	State RollingState `json:"state"`
	// ID names it.
	ID             string `json:"id,omitempty"`
	MaxUnavailable int    `json:"max_unavailable,omitempty"`
	// Total counts the agents that it is for, Added those of them that a
	// configuration added, which it only follows, Done those that are up again or
	// have failed without stopping it. Now are those that are being restarted or are new, Down others of its
	// agents that are not up: they count, too. Ending are those that a configuration
	// removed and that may still run. Each names at most MaxRollingNames.
	Total  int      `json:"total,omitempty"`
	Added  int      `json:"added,omitempty"`
	Done   int      `json:"done,omitempty"`
	Now    []string `json:"now,omitempty"`
	Down   []string `json:"down,omitempty"`
	Ending []string `json:"ending,omitempty"`
	// Reason says why it was stopped or superseded, or what failed.
	Reason string     `json:"reason,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
}
