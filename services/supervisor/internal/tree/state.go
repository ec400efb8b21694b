package tree

import (
	"maps"
	"slices"
)

// Phase is where a node is in its life.
type Phase string

// Phases. Supervisors pass through Idle, Ended, Starting, Running, Stopping, Waiting
// and Isolated.
const (
	// Idle: not running; it starts with the next group restart that covers it, unless
	// an operator terminated it, or when it is told to.
	Idle Phase = "idle"
	// Ended: down; what follows from that is decided when its supervisor has
	// finished what it is doing, or is resumed.
	Ended Phase = "ended"
	// Gone: a configured temporary child that ended. It is not a child until its
	// supervisor starts again or, except in OTP, an operator orders its start.
	Gone Phase = "gone"
	// Throttled: its restart was decided and waits for budget, see [Budget].
	Throttled Phase = "throttled"
	// Unplaced: its start was decided and waits for a runner, or until what its
	// configuration removed has ended.
	Unplaced Phase = "unplaced"
	// Starting: the start was ordered. A supervisor that starts awaits its
	// children.
	Starting Phase = "starting"
	// Verifying: the process runs; its first heartbeat is awaited.
	Verifying Phase = "verifying"
	// Stabilising: it beats; it must go on for a while.
	Stabilising Phase = "stabilising"
	// Unverified: it did not beat in time, or was not well in the end. That is
	// being reported; it is killed once the log has the report.
	Unverified Phase = "unverified"
	// Running: up, and verified where that was asked for.
	Running Phase = "running"
	// Stopping: the stop was ordered and is not yet confirmed.
	Stopping Phase = "stopping"
	// Waiting: down, to be started at Due.
	Waiting Phase = "waiting"
	// Isolated: down, since it failed too often for its supervisor, which goes on
	// without it. It is tried again at Due.
	Isolated Phase = "isolated"
	// Watched: an agent that is not enforced. Whether it runs is somebody
	// else's doing.
	Watched Phase = "watched"
	// Claiming: enforced from now on; it is listened for, since it may run
	// already.
	Claiming Phase = "claiming"
	// Foreign: enforced, but it runs and was not started from here. It is left
	// alone until it ends.
	Foreign Phase = "foreign"
)

// delayed reports whether a node is down and starts by itself when its time has
// come.
func (p Phase) delayed() bool { return p == Waiting || p == Isolated }

// Down reports whether a node certainly has no process, or nothing below it up.
func (p Phase) Down() bool { return p.idle() || p == Gone || p.delayed() }

// idle reports whether a node is down and no time brings it back.
func (p Phase) idle() bool { return p == Idle || p == Ended }

// live reports whether there may be a process (or a subtree) to stop.
func (p Phase) live() bool {
	switch p {
	case Starting, Verifying, Stabilising, Unverified, Running, Stopping:
		return true
	}
	return false
}

// Up reports whether a process of the node exists as far as is known.
func (p Phase) Up() bool {
	return p.live() && p != Starting
}

// pending reports whether a start was decided that nobody has been told of yet.
func (p Phase) pending() bool { return p == Throttled || p == Unplaced }

// coming reports whether a start was decided whose success is not yet known.
func (p Phase) coming() bool {
	return p == Starting || p == Verifying || p == Unverified || p.pending()
}

// What the tree itself gives people as the reason of being down.
const (
	whyFinished   = "finished"
	whyTerminated = "terminated"
	whyRestart    = "to be restarted"
	whyRemove     = "to be removed"
	whyFailed     = "failed"
	// What stopped it, where nobody ordered that. The first form of stored states
	// says whyOrdered of both.
	whyGroup      = "with its group"
	whySupervisor = "with its supervisor"
	whyService    = "with the service"
	whyOrdered    = "ordered"
	// whyGaveUp is what the first form says of every supervisor that gave up.
	whyGaveUp = "gave_up"
	// whyBegun is what was under way, where nothing had ended.
	whyBegun = "its start was decided"
)

// Then is what follows a stop that is not part of a group operation.
type Then string

// What may follow.
const (
	// ThenFail: it was killed because of a verdict; treat it as crashed.
	ThenFail Then = "fail"
	// ThenStartFailed: it was killed because its start could not be verified.
	ThenStartFailed Then = "start_failed"
	ThenTerminate   Then = "terminate"
	ThenClose       Then = "close"
	ThenRemove      Then = "remove"
	ThenRestart     Then = "restart"
	// ThenResume: the supervisor's process that was to end it has ended before it
	// was down, and another goes on.
	ThenResume Then = "resume"
)

// State is where a node is: everything the tree must remember of it.
type State struct {
	Phase Phase `json:"phase"`
	// End is how it came to be down, or why it is to be. Why says to people, in a
	// word or a sentence, how it came into the phase.
	End End    `json:"end,omitempty"`
	Why string `json:"why,omitempty"`
	// Incarnation is the number of the last start ordered; it only grows.
	Incarnation uint64 `json:"incarnation,omitempty"`
	// Suspect is an incarnation that was found failed while the log did not know it,
	// or while it was not enforced: should it be found alive, it is stopped.
	Suspect uint64 `json:"suspect,omitempty"`
	// Newest is a higher one that a runner had and the log does not know; the
	// next start is newer than both.
	Newest uint64 `json:"newest,omitempty"`
	Attempt
	// After is until when its first start waits at most for what the configuration
	// that added it removes.
	After Instant `json:"after,omitempty"`
	// Home is the runner that was lost and that the agent is to go back to.
	Home string `json:"home,omitempty"`
	// From is the runner whose restart budget it needs or needed, until it has a
	// runner again.
	From string `json:"from,omitempty"`
	// Since is when it came into the phase.
	Since Instant `json:"since,omitempty"`
	Wait
	// Attempts counts restarts for the backoff, Restarts all of them.
	Attempts    int     `json:"attempts,omitempty"`
	Restarts    uint64  `json:"restarts,omitempty"`
	LastRestart Instant `json:"last_restart,omitempty"`
	// Isolation is what counts against its own limit, where its supervisor
	// isolates.
	Isolation *Isolation `json:"isolation,omitempty"`
	// Claim says what must be found out before its next start, since it was
	// not enforced, and Mode is its setting made at run time.
	Claim Claim    `json:"claim,omitempty"`
	Mode  *Setting `json:"mode,omitempty"`
	// Renewal is nil where the process, if there is one, is as specified.
	Renewal *Renewal `json:"renewal,omitempty"`
	// Command is the operator's command in progress, Orders are those that stand.
	Command *Command        `json:"command,omitempty"`
	Orders  *StandingOrders `json:"orders,omitempty"`
	// Story is what led here.
	Story
	Supervisor *Supervised `json:"supervisor,omitempty"`
}

// Story is what something is because of.
type Story struct {
	// Cause is the event, or the decision, that led to it, Chain the first event of
	// the story.
	Cause string `json:"cause,omitempty"`
	Chain string `json:"chain,omitempty"`
}

// Attempt is what is known of the present incarnation; the next begins with an
// empty one.
type Attempt struct {
	// Runner is where it was ordered to start.
	Runner string `json:"runner,omitempty"`
	PID    int    `json:"pid,omitempty"`
	// Decision is the message in which its start or stop was decided.
	Decision string `json:"decision,omitempty"`
	Progress
}

// Progress is how far the start or the stop of an incarnation is; also a stop
// begins with an empty one. Of a supervisor only Then is used.
type Progress struct {
	// Then is what follows the stop, and Kill is set when that is to be forced.
	Then Then `json:"then,omitempty"`
	Kill bool `json:"kill,omitempty"`
	// Beat is set when the first heartbeat came before the start's result, Unwell
	// while the latest heartbeat gave an unhealthy status.
	Beat   bool `json:"beat,omitempty"`
	Unwell bool `json:"unwell,omitempty"`
}

// Wait is what a phase waits for; each phase begins with an empty one.
type Wait struct {
	// Due is when it ends by itself.
	Due Instant `json:"due,omitempty"`
	// Ticket orders the restarts that wait for budget, and the ends that wait for
	// their supervisor.
	Ticket uint64 `json:"ticket,omitempty"`
	// ListenStage is how far listening for it is while it is claimed.
	ListenStage ListenStage `json:"ear,omitempty"`
	// Own is how it had ended by itself, where End says only that it was stopped
	// since it starts again with its group. Why then says how, too. Nothing is
	// decided by it.
	Own End `json:"own,omitempty"`
	// Held is the phase in which the node was down when the service stopped, and
	// which it has again with the next start; Due is then that of this phase.
	Held Phase `json:"held,omitempty"`
}

// OwnEnd returns how a node that is down ended, but for its being stopped with
// others; empty if it was only that, or has not begun.
func (s *State) OwnEnd() End {
	if s.End != EndStopped {
		return s.End
	}
	return s.Own
}

// Supervised is the part of a state that only supervisors have.
type Supervised struct {
	// Window holds the times of the restarts that count against the limit.
	Window []Instant `json:"window,omitempty"`
	// Proposed holds the times of the restarts that were proposed and would
	// count.
	Proposed []Instant `json:"proposed,omitempty"`
	// Suspended makes the failures of everything below it wait to be dealt
	// with.
	Suspended bool       `json:"suspended,omitempty"`
	Op        *Operation `json:"op,omitempty"`
	// Order names the children in the order that they get when Op is over.
	Order []string `json:"order,omitempty"`
	// Scaled holds the templates below it whose count was changed at run time.
	Scaled map[string]Scale `json:"scaled,omitempty"`
	// Scaling are the orders to scale templates that are in progress, by template.
	Scaling map[string]Scaling `json:"scaling,omitempty"`
	// Spent is what was used of the restart budgets, Configured where the
	// configuration came from, Rolling the rolling restart, and Answers are the
	// last answers to orders; only the root has them.
	Spent      *Spent      `json:"spent,omitempty"`
	Configured *Configured `json:"configured,omitempty"`
	Rolling    *Rolling    `json:"rolling,omitempty"`
	Answers    []Answer    `json:"answers,omitempty"`
}

// Command is an operator's command about a node.
type Command struct {
	Kind CommandKind `json:"kind"`
	// Token tells the caller which command a reply belongs to.
	Token string `json:"token,omitempty"`
	// Joined are the tokens of later orders that are done when this one is.
	Joined []string `json:"joined,omitempty"`
	// Queued orders commands that wait for the supervisor; 0 means begun.
	Queued uint64 `json:"queued,omitempty"`
	// Story begins with the decision that it is recorded in.
	Story
}

// OpKind is what an operation is for.
type OpKind string

// Stage is how far an operation is.
type Stage string

// Kinds and stages of operations.
const (
	OpBoot  OpKind = "boot"
	OpGroup OpKind = "group"
	OpStop  OpKind = "stop"
	// OpFill starts the members of a group that await their turn, in order. It stops
	// none, and gives way to a restart of the group.
	OpFill OpKind = "fill"

	StageStop  Stage = "stop"
	StageWait  Stage = "wait"
	StageStart Stage = "start"
)

// Outcome is how a supervisor ends.
type Outcome string

// Outcomes of a stop operation.
const (
	// Ordered by its parent or an operator.
	Ordered Outcome = "ordered"
	// Shutdown: it gave up, or a significant child ended.
	Shutdown Outcome = "shutdown"
	// Escalated: an abnormal end, by the escalate strategy.
	Escalated Outcome = "escalated"
	// BootFailed: a child could not be started.
	BootFailed Outcome = "start_failed"
	// Terminated by its escalation policy.
	Terminated Outcome = "terminated"
	// Cooling: it will start afresh after a pause.
	Cooling Outcome = "cool_off"
)

// Operation is what a supervisor is doing with several children: it stops them,
// waits, and starts them. With those of a group it does so one after the other,
// stopping them in reverse order.
type Operation struct {
	Kind  OpKind `json:"kind"`
	Stage Stage  `json:"stage"`
	// From is the rank of the first child concerned; 0 means all.
	From int64 `json:"from,omitempty"`
	// At is the rank of the child whose stop or start is awaited; 0 of a boot or
	// stop means that of all children at once.
	At int64 `json:"at,omitempty"`
	// Due is when the wait between stopping and starting ends; or, when the
	// supervisor itself stops, when that must be over, 0 for never.
	Due     Instant `json:"due,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	// Again tells that what it starts are restarts, Resume that it stops, or starts,
	// because the supervisor's process does: what was down is left down then.
	Again  bool `json:"again,omitempty"`
	Resume bool `json:"resume,omitempty"`
	Story
}

// Starts reports whether the operation is still to start the child with a rank,
// if it is down then.
func (op *Operation) Starts(rank int64) bool {
	return op != nil && op.Kind != OpStop && op.awaits(rank)
}

// awaits reports whether the turn of the child with a rank is still to come.
func (op *Operation) awaits(rank int64) bool {
	return !op.together() && rank >= op.From && (op.Stage != StageStart || rank > op.At)
}

// why says what stops a child with the operation.
func (op *Operation) why() string {
	if op.Kind == OpGroup {
		return whyGroup
	}
	return whySupervisor
}

func (s *State) clone() *State {
	c := *s
	c.Renewal, c.Mode = copied(s.Renewal), copied(s.Mode)
	if c.Command = copied(s.Command); c.Command != nil {
		c.Command.Joined = slices.Clone(s.Command.Joined)
	}
	if c.Supervisor = copied(s.Supervisor); c.Supervisor != nil {
		sup := c.Supervisor
		sup.Window = append([]Instant(nil), sup.Window...)
		sup.Proposed = append([]Instant(nil), sup.Proposed...)
		sup.Op, sup.Order, sup.Scaled = copied(sup.Op), slices.Clone(sup.Order), maps.Clone(sup.Scaled)
		sup.Spent, sup.Configured, sup.Rolling = sup.Spent.clone(), sup.Configured.clone(), sup.Rolling.clone()
	}
	return &c
}

// copied returns a pointer to a copy; nil stays nil.
func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
