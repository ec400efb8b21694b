package sim

// Mutation is a way in which what surrounds the product is wrong: the log, the
// runners, the bucket of snapshots, or the order in which the loop is driven. Each
// must be caught by the invariant that is there for it. Mutations of the product
// itself are made in its code, see TestMutants.
type Mutation string

// None leaves everything as it is.
const None Mutation = ""

// Mutations of the log, the driver and the runner.
const (
	// StaleAppends: the log accepts decisions of somebody who missed one.
	StaleAppends Mutation = "stale appends"
	// ForgottenRival: the log accepts a decision by a supervisor whose rival has decided,
	// when it has forgotten that.
	ForgottenRival Mutation = "forgotten rival"
	// OldSnapshot: a snapshot holds an older tree than it says.
	OldSnapshot Mutation = "old snapshot"
	// WaitForEffects: nothing is decided while effects are performed.
	WaitForEffects Mutation = "wait for effects"
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
	// BlamesAgents: a runner that returns reports what ended with its host, or
	// was never begun, as failures of the agents.
	BlamesAgents Mutation = "blames agents"
	// EndsAsOrdered: a runner reports what it ends without an order as ended by one.
	EndsAsOrdered Mutation = "ends as ordered"
	// CodeFirst: a runner reports how an agent ended before it looks at who ended it.
	CodeFirst Mutation = "code first"
	// RetriedFailure: a start that has failed may yet succeed.
	RetriedFailure Mutation = "retried failure"
)

// Mutations lists each with the invariants that must catch it.
func Mutations() map[Mutation][]Invariant {
	return map[Mutation][]Invariant{
		StaleAppends:   {Replay},
		ForgottenRival: {Replay},
		OldSnapshot:    {Replay},
		EarlyConfirm:   {DeadFirst, OneLives},
		LostExits:      {Recovers},
		WaitForEffects: {Prompt},
		NoFence:        {OneLives, DeadFirst},
		SecondCopy:     {OneLives},
		NoLedger:       {OneLives},
		StopForgotten:  {DeadFirst},
		RetriedFailure: {DeadFirst},
		BlamesAgents:   {Blame},
		EndsAsOrdered:  {Recovers},
		CodeFirst:      {Recovers},
		NoBootFence:    {OneLives, DeadFirst},
		NoLoss:         {Recovers},
		HastyLoss:      {DeadFirst, OneLives},
	}
}
