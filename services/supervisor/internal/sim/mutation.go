package sim

// Mutation is a way to build the product wrong. Each must be caught by the
// invariant that is there for it.
type Mutation string

// None is the product as it is.
const None Mutation = ""

// Mutations of the log, the supervisor's shell and the runner.
const (
	// StaleAppends: the log accepts decisions of somebody who missed one.
	StaleAppends Mutation = "stale appends"
	// TornDecisions: parts of a decision count before it is complete.
	TornDecisions Mutation = "torn decisions"
	// NoTombstones: the fold forgets incarnations of removed nodes.
	NoTombstones Mutation = "no tombstones"
	// OldSnapshot: a snapshot holds an older tree than it says.
	OldSnapshot Mutation = "old snapshot"
	// StaleCopy: a snapshot lacks what changed while it was made.
	StaleCopy Mutation = "stale copy"
	// ActFirst: effects are performed before the decision is stored.
	ActFirst Mutation = "act first"
	// Renumber: a successor gives outstanding starts a new incarnation.
	Renumber Mutation = "renumber"
	// NoKill: a verdict counts as an exit, without the kill.
	NoKill Mutation = "no kill"
	// EagerCursor: the cursor is the end of the log, not what was consumed.
	EagerCursor Mutation = "eager cursor"
	// NoReissue: a successor does not perform what is outstanding.
	NoReissue Mutation = "no reissue"
	// NoTimers: waits of a predecessor are forgotten.
	NoTimers Mutation = "no timers"
	// OneLane: the commands of all agents are carried out one after the other.
	OneLane Mutation = "one lane"
	// WaitForEffects: nothing is decided while effects are performed.
	WaitForEffects Mutation = "wait for effects"
	// EndlessStop: a stop is repeated though its agent is known to have ended,
	// and holds up its next start. It is rare, so TestEndlessStop has a
	// scenario for it.
	EndlessStop Mutation = "endless stop"
	// OneTry: a command is not repeated when its answer is lost.
	OneTry Mutation = "one try"
	// NoFence: a runner starts older incarnations, and those that ended.
	NoFence Mutation = "no fence"
	// SecondCopy: a runner starts another process while one lives.
	SecondCopy Mutation = "second copy"
	// NoLedger: a runner's successor knows nothing of its agents.
	NoLedger Mutation = "no ledger"
	// StopForgotten: a start that comes after its own stop succeeds.
	StopForgotten Mutation = "stop forgotten"
	// NoBootFence: a start that was meant for an earlier boot of its host is
	// carried out.
	NoBootFence Mutation = "no boot fence"
	// StaleLosses: the log takes reports of losses by somebody who missed a
	// decision.
	StaleLosses Mutation = "stale losses"
	// NoLoss: what was to be started or stopped on a host that is gone is
	// waited for.
	NoLoss Mutation = "no loss"
	// HastyLoss: a runner that is only silent is taken for gone with its host.
	HastyLoss Mutation = "hasty loss"
	// EarlyConfirm: a stop is confirmed when the signal was sent.
	EarlyConfirm Mutation = "early confirm"
	// LostExits: ends that could not be told at once are never told.
	LostExits Mutation = "lost exits"
	// RetriedFailure: a start that has failed may yet succeed.
	RetriedFailure Mutation = "retried failure"
)

// Mutations lists each with the invariants that must catch it.
func Mutations() map[Mutation][]Invariant {
	return map[Mutation][]Invariant{
		StaleAppends:   {Replay},
		TornDecisions:  {Replay},
		OldSnapshot:    {Replay},
		StaleCopy:      {Replay},
		NoTombstones:   {Growing, Replay},
		ActFirst:       {Logged},
		Renumber:       {Logged},
		NoKill:         {DeadFirst, OneLives},
		EarlyConfirm:   {DeadFirst, OneLives},
		EagerCursor:    {Recovers},
		NoReissue:      {Recovers},
		NoTimers:       {Recovers},
		LostExits:      {Recovers},
		OneTry:         {Recovers},
		OneLane:        {Prompt},
		WaitForEffects: {Prompt},
		NoFence:        {OneLives, DeadFirst},
		SecondCopy:     {OneLives},
		NoLedger:       {OneLives},
		StopForgotten:  {DeadFirst},
		RetriedFailure: {DeadFirst},
		NoBootFence:    {OneLives, DeadFirst},
		NoLoss:         {Recovers},
		KeepsOrdering:  {Modes},
		ShadowActs:     {Modes},
		HastyLoss:      {DeadFirst, OneLives},
		NoListening:    {Alone},
		NoLabels:       {Placed},
	}
}
