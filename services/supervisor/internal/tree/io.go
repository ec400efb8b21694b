package tree

import "time"

// InputKind is what happened.
type InputKind string

// Kinds of inputs.
const (
	// Started: the start of an incarnation was acknowledged.
	Started InputKind = "started"
	// StartFailed: there is no process of that incarnation, and none will come.
	StartFailed InputKind = "start_failed"
	// Stopped: the end of an incarnation was confirmed.
	Stopped InputKind = "stopped"
	// Exited: an incarnation ended by itself.
	Exited InputKind = "exited"
	// Failed: somebody concluded that an incarnation is no good. It may live.
	Failed InputKind = "failed"
	// Lost: whatever ran an incarnation is gone for good, and nothing of it
	// needs to be stopped any more: it is fenced by its number, and stopped
	// should its runner return.
	Lost InputKind = "lost"
	// Found: Runner has a live incarnation that the log does not know. Unwell
	// says that it was ordered to stop.
	Found InputKind = "found"
	// Raised: an incarnation that the log does not know was started once, on Runner.
	Raised InputKind = "raised"
	// Declined: Runner has not started the incarnation and never will, for want
	// of descriptors, processes, memory or disk.
	Declined InputKind = "declined"
	// Beat: an incarnation said that it lives.
	Beat InputKind = "beat"
	// SeenAlive: somebody else noticed that the agent lives, whoever started it.
	SeenAlive InputKind = "seen"
	// HeartbeatsMissed: beats may have gone unheard until now.
	HeartbeatsMissed InputKind = "deaf"
	// Tick: time has passed.
	Tick InputKind = "tick"
	// Order: an operator wants something done.
	Order InputKind = "order"
	// Configure: this is the configured tree.
	Configure InputKind = "configure"
	// Runners: these runners are there. It changes no state by itself.
	Runners InputKind = "runners"
)

// CommandKind is what an operator wants done with a node.
type CommandKind string

// Commands. CmdStart and CmdDelete are OTP's restart_child and
// delete_child.
const (
	CmdAdd       CommandKind = "add"
	CmdStart     CommandKind = "start"
	CmdDelete    CommandKind = "delete"
	CmdTerminate CommandKind = "terminate"
	// CmdClose stops everything because the supervisor's process ends. It starts again
	// with that, unless an operator had stopped it.
	CmdClose CommandKind = "close"
	// CmdRestart stops and starts; it costs nothing of the limit.
	CmdRestart CommandKind = "restart"
	// CmdSuspend makes a supervisor restart nothing below it until CmdResume;
	// then it deals with what happened meanwhile.
	CmdSuspend CommandKind = "suspend"
	CmdResume  CommandKind = "resume"
	// CmdRemove terminates and deletes.
	CmdRemove CommandKind = "remove"
	// CmdScale makes a template have Count instances. An instance that it adds has it
	// until it is verified.
	CmdScale CommandKind = "scale"
	// CmdMove puts a node under the supervisor To. What runs, runs on.
	CmdMove CommandKind = "move"
	// CmdMode gives a node another mode, or its former one if there is none.
	CmdMode CommandKind = "mode"
	// CmdRoll restarts the agents at and below a node, or the outdated ones among
	// them, at most Count at once.
	CmdRoll CommandKind = "roll"
	// CmdRebalance restarts agents at and below a node on emptier runners, Count at
	// a time.
	CmdRebalance CommandKind = "rebalance"
)

// Input is one thing that the tree takes into account. Which fields matter
// depends on Kind. Its JSON is what decisions record of it in addition to what
// [contracts.DecisionInput] has; configured specs are in the decision's changes.
type Input struct {
	Kind InputKind `json:"-"`
	// Node is the agent or supervisor concerned.
	Node string `json:"-"`
	// Incarnation is the one concerned; a Failed or Beat of 0 means the
	// current one.
	Incarnation uint64 `json:"-"`
	// Normal tells an Exited that was no failure, Requested one that came because
	// somebody asked its runner for it.
	Normal    bool `json:"normal,omitempty"`
	Requested bool `json:"requested,omitempty"`
	// Unwell tells a Beat whose status is not healthy.
	Unwell bool `json:"unwell,omitempty"`
	// At is when it happened; it matters for Failed with incarnation 0.
	At Instant `json:"-"`
	// Reason is what happened, for people.
	Reason string `json:"-"`
	// Event is the id of the event that brought it, Chain the first event of
	// its story.
	Event string `json:"-"`
	Chain string `json:"chain,omitempty"`
	PID   int    `json:"pid,omitempty"`
	// Runner belongs to Found, Raised and Declined.
	Runner string `json:"runner,omitempty"`
	// Command, Token and By, the operator if known, belong to Order; Spec to an
	// Order to add, Count to one to scale and To to one to move.
	Command CommandKind `json:"command,omitempty"`
	Token   string      `json:"token,omitempty"`
	By      *Operator   `json:"-"`
	Spec    *Spec       `json:"spec,omitempty"`
	Count   int         `json:"count,omitempty"`
	To      string      `json:"to,omitempty"`
	// Mode belongs to an Order of another mode.
	Mode *Rollout `json:"mode,omitempty"`
	// Outdated belongs to an Order to roll.
	Outdated bool `json:"outdated,omitempty"`
	// Specs are the whole configured tree, parents first; Keep leaves the tree
	// configured as it is instead. Boot starts a tree that is down.
	Specs []*Spec `json:"-"`
	Keep  bool    `json:"keep,omitempty"`
	Boot  bool    `json:"boot,omitempty"`
	// Revision, if it is not 0, is what [Tree.Revision] must be: else the
	// configuration is refused as Stale.
	Revision uint64 `json:"-"`
	// Configuration says where Specs come from and what becomes of agents that
	// they change; nil says nothing and leaves those agents running.
	Configuration *Configuration `json:"configuration,omitempty"`
	// Runners are all that are available now. Gathering says that there may be others
	// which were not compared with the tree, Lingering are the live copies that
	// runners were told to end and have not.
	Runners   []Runner    `json:"runners,omitempty"`
	Gathering bool        `json:"gathering,omitempty"`
	Lingering []Lingering `json:"lingering,omitempty"`
}

// Operator is the sender of an order, as it describes itself.
type Operator struct {
	User    string `json:"user,omitempty"`
	Host    string `json:"host,omitempty"`
	Program string `json:"program,omitempty"`
}

// Runner is a runner that takes starts.
type Runner struct {
	Name string
	// Capacity is how many agents it takes; 0 means no bound.
	Capacity int
	// Named runners take only the agents that name them.
	Named bool
	// Labels are what agents may ask for.
	Labels map[string]string
}

// Lingering is a live copy of an agent that the tree no longer wants. The runner that
// has it was told to end it.
type Lingering struct {
	Agent  string `json:"agent"`
	Runner string `json:"runner"`
}

// EffectKind is what is to be done, or what was concluded.
type EffectKind string

// Effects to perform. Their results come back as inputs.
const (
	// DoStart: start the agent; answered by Started or StartFailed.
	DoStart EffectKind = "start"
	// DoStop: stop the agent and make sure; answered by Stopped.
	DoStop EffectKind = "stop"
	// DoReport: report that the agent's start could not be verified; answered
	// by Failed.
	DoReport EffectKind = "report"
	// DoReply: answer an operator.
	DoReply EffectKind = "reply"
)

// Ordered reports whether an effect is for a runner or the log to perform.
func (k EffectKind) Ordered() bool { return k == DoStart || k == DoStop || k == DoReport }

// Conclusions that need nothing to be done.
const (
	NoteBoot      EffectKind = "boot"
	NoteRunning   EffectKind = "running"
	NoteFinished  EffectKind = "finished"
	NoteRestart   EffectKind = "restart"
	NoteGroup     EffectKind = "group"
	NoteGiveUp    EffectKind = "give_up"
	NoteEscalate  EffectKind = "escalate"
	NoteTerminate EffectKind = "terminate"
	NoteCoolOff   EffectKind = "cool_off"
	NoteIgnore    EffectKind = "ignore"
	NoteDown      EffectKind = "down"
	NoteRemove    EffectKind = "remove"
	NoteAdd       EffectKind = "add"
	NoteScale     EffectKind = "scale"
	NoteMove      EffectKind = "move"
	NoteReturn    EffectKind = "return"
	NoteMode      EffectKind = "mode"
	// NoteForeign: an enforced agent runs that was not started from here.
	NoteForeign EffectKind = "foreign"
	// Propose tells what would be done, were the node enforced: Action.
	Propose EffectKind = "propose"
	// NoteIsolate: a child exceeded its own limit. It is set apart and tried
	// again at Due.
	NoteIsolate EffectKind = "isolate"
	// NoteRolling: a rolling restart begins, NoteRolled: it is done. When an
	// agent did not come up that is NoteRollingStopped.
	NoteRolling        EffectKind = "rolling"
	NoteRolled         EffectKind = "rolled"
	NoteRollingStopped EffectKind = "rolling_stopped"
	// NoteConfigure: another configuration is in force.
	NoteConfigure EffectKind = "configure"
	// NoteBudget: a restart waits for budget, at least until Due.
	NoteBudget EffectKind = "budget"
)

// Result answers an Order.
type Result string

// Results. Those but OK, CannotStart, Superseded and NotVerified mean that nothing was
// changed.
const (
	OK             Result = "ok"
	IsRunning      Result = "running"
	NotFound       Result = "not_found"
	Restarting     Result = "restarting"
	CannotStart    Result = "start_failed"
	NoSupervisor   Result = "no_supervisor"
	AlreadyStarted Result = "already_started"
	AlreadyPresent Result = "already_present"
	Invalid        Result = "invalid"
	Busy           Result = "busy"
	Superseded     Result = "superseded"
	// Stale: the tree is no longer what a configuration was meant for.
	Stale Result = "stale"
	// NotEnforced: the agent's mode, or whoever else keeps it, forbids it.
	NotEnforced Result = "not_enforced"
	// NotVerified: it was carried out, and an agent failed before it was verified.
	NotVerified Result = "unverified"
)

// Effect is one thing to do, or one conclusion.
type Effect struct {
	Kind        EffectKind
	Node        string
	Incarnation uint64
	Runner      string
	// Timeout and Kill belong to DoStop.
	Timeout time.Duration
	Kill    bool
	// Due is when a wait ends.
	Due Instant
	// Reason says why.
	Reason string
	// Event caused it and Chain is its story. The cause of what an order or a
	// configuration leads to is the decision that it is recorded in.
	Event, Chain string
	Token        string
	Result       Result
	// Attempt counts restarts for the backoff, from 1, and Supervisor is the node's;
	// they belong to NoteRestart.
	Attempt    int
	Supervisor string
	// Action belongs to Propose.
	Action Action
}
