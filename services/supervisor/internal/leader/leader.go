package leader

import (
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Stage is how far a leader is in taking over its tree.
type Stage uint8

// Stages, in their order.
const (
	// Claiming: the decision that fences predecessors is not stored yet.
	Claiming Stage = iota
	// Claimed: it is. What predecessors have stored is not known yet, see
	// [Leader.CatchUp].
	Claimed
	// CatchingUp: evidence stored until then is applied before anything else.
	CatchingUp
	// Configuring: the configuration is being applied.
	Configuring
	// Leading: the tree is up to date.
	Leading
)

// String is the stage in a word.
func (s Stage) String() string {
	return [...]string{"claiming", "claimed", "catching up", "configuring", "leading"}[s]
}

// Options say how a leader decides.
type Options struct {
	// MaxInputs and MaxChanged bound how many inputs go into one decision, and
	// after how many changed nodes it is closed; 0 means no bound. A decision
	// takes at least one input, whatever it changes.
	MaxInputs, MaxChanged int
	// Announced is at which interval runners announce themselves. From when it leads,
	// a leader starts agents that may run anywhere only when all runners that do have
	// been visited; 0 begins at once.
	Announced time.Duration
}

// State is what the log says of a tree.
type State struct {
	Tree *tree.Tree
	// Number is that of the last decision, Cursor the place in the log of the
	// last evidence that was applied.
	Number, Cursor uint64
}

// Input is what the tree is told, and where it stood in the log.
type Input struct {
	tree.Input
	// Seq is its place in the log, 0 for what is not from there. An input
	// without a kind only moves the cursor.
	Seq uint64
	// Seen is a runner that has been visited: what follows from that was submitted
	// before. Such an input has no kind.
	Seen string
}

// Leader decides about one tree. It is not safe for concurrent use.
type Leader struct {
	opt    Options
	tree   *tree.Tree
	stage  Stage
	number uint64
	cursor uint64
	// term is when this side took the tree over, see [Leader.Term].
	term uint64
	// until is the last evidence that must be applied before the tree is
	// configured.
	until uint64
	// config is the configuration that taking over ends with.
	config tree.Input
	// inbox holds the queued inputs, nil if there are none. It begins with room for
	// as many as the last decision took.
	inbox []Input
	took  int
	// deciding is the decision that is being stored.
	deciding *Batch
	due      []Order
	// clock is the time of the last decision: it never goes back.
	clock tree.Instant
	// runners is the latest news of runners that no decision has recorded.
	runners   *Input
	heard     listening
	copy      *tree.Copy
	gathering gathering
	lingering lingering
	// lost are the incarnations that were reported as lost with their hosts, by agent.
	lost map[string]uint64
	// news is set when the tree has to be told of what holds starts back.
	news bool
}

// New returns a leader of the tree that a log holds. Taking over ends with
// applying the configuration.
func New(opt Options, st State, config tree.Input) *Leader {
	return &Leader{opt: opt, tree: st.Tree, number: st.Number, cursor: st.Cursor, config: config, heard: listening{}, lost: map[string]uint64{}}
}

// Stage is how far the leader is in taking over.
func (l *Leader) Stage() Stage { return l.stage }

// Number is that of the last stored decision, Cursor the place in the log of
// the last evidence that was applied.
func (l *Leader) Number() uint64 { return l.number }

// Cursor is the place in the log of the last evidence that was applied.
func (l *Leader) Cursor() uint64 { return l.cursor }

// Term tells leaders apart: it is when this one took the tree over, in microseconds
// since 1970, or one more than any that a runner was told. Every command to a runner
// carries it, and a runner that was told of it refuses starts of lower terms: those
// that a former leader, which was paused or cut off, sends late. That holds also where
// the log has lost what that one decided, and numbers decisions as it did.
func (l *Leader) Term() uint64 { return l.term }

// Needs is the place up to which the log must reach: the last evidence that was
// applied, or must be before the tree is configured.
func (l *Leader) Needs() uint64 {
	if l.stage == CatchingUp {
		return max(l.cursor, l.until)
	}
	return l.cursor
}

// Settled reports whether the tree holds nothing that the log lacks.
func (l *Leader) Settled() bool { return l.deciding == nil }

// CatchUp ends [Claimed]: predecessors have stored evidence up to until, and no
// more will come from them.
func (l *Leader) CatchUp(until uint64) {
	if l.stage == Claimed {
		l.stage, l.until = CatchingUp, until
	}
}

// Begins tells where the log begins. The evidence before that is forgotten, so taking
// over does not wait for it; it reports whether it did.
func (l *Leader) Begins(first uint64) (waited bool) {
	if l.stage != CatchingUp || l.cursor >= l.until || first <= l.until {
		return false
	}
	l.until = l.cursor
	return true
}

// Submit queues an input and reports whether it did: a heartbeat that says
// nothing new is dropped.
func (l *Leader) Submit(in Input, now tree.Instant) bool {
	if in.Kind == tree.Beat {
		if !l.News(in.Node, in.Incarnation, in.Unwell) {
			return false
		}
		in.At = l.now(now)
	}
	if l.inbox == nil {
		l.inbox = make([]Input, 0, l.took)
	}
	l.inbox = append(l.inbox, in)
	return true
}

// Ready reports whether there is something to decide now.
func (l *Leader) Ready() bool {
	switch {
	case l.deciding != nil, l.stage == Claimed:
		return false
	case l.stage == Claiming, l.stage == CatchingUp && l.cursor >= l.until:
		return true
	}
	return len(l.inbox) > 0 || l.news && l.stage == Leading
}

// Decide makes the next decision; it must be Ready. Its changes are in the tree
// at once and must be stored before [Leader.Advance]. The id names the message
// that they are stored in.
func (l *Leader) Decide(now tree.Instant, id string) *Batch {
	b := &Batch{ID: id, At: l.now(now)}
	l.deciding = b
	l.tree.Deciding(id)
	switch {
	case l.stage == Claiming:
		b.claim = true
		l.term = uint64(b.At / tree.Instant(time.Microsecond))
	case l.stage == CatchingUp && l.cursor >= l.until:
		l.stage = Configuring
		l.step(b, &Input{Input: l.config})
		l.config = tree.Input{} // its specifications are the tree's now
	default:
		l.consume(b)
	}
	b.Number, b.Cursor = l.number+1, l.cursor
	b.Changes = l.tree.Changes(nil)
	l.keepRunners(b)
	b.Orders = l.orders(b.Effects)
	return b
}

// consume steps through as many queued inputs as one decision takes.
func (l *Leader) consume(b *Batch) {
	most := len(l.inbox)
	if l.opt.MaxInputs > 0 {
		most = min(most, l.opt.MaxInputs)
	}
	b.Steps, b.Effects = make([]Step, 0, most), make([]tree.Effect, 0, most)
	n := 0
	for n < len(l.inbox) && !l.full(n) {
		l.step(b, &l.inbox[n])
		n++
	}
	b.Consumed = l.inbox[:n:n]
	if l.inbox = l.inbox[n:]; len(l.inbox) == 0 {
		l.inbox = nil
		l.tellHeld(b)
	}
	l.took = n
}

func (l *Leader) full(inputs int) bool {
	return inputs > 0 && (inputs == l.opt.MaxInputs || l.opt.MaxChanged > 0 && l.tree.Dirty() >= l.opt.MaxChanged)
}

// step gives the tree one input.
func (l *Leader) step(b *Batch, in *Input) {
	l.cursor = max(l.cursor, in.Seq)
	switch in.Kind {
	case "":
		l.seen(b, in.Seen)
		return
	case tree.Runners:
		l.held(&in.Input, b.At)
	}
	revision, before := l.tree.Revision(), len(b.Effects)
	b.Effects = l.tree.Step(&in.Input, b.At, b.Effects)
	if in.Kind == tree.Found && !l.tree.Has(in.Node) {
		l.missed(b, in)
	}
	if l.tree.Revision() == revision && len(b.Effects) == before {
		if in.Kind == tree.Runners {
			news := *in
			l.runners = &news
		}
		return
	}
	if l.tree.Revision() == revision && refused(b.Effects[before:]) {
		return // to decide on it again could come out otherwise, and nothing came of it
	}
	switch {
	case in.Kind == tree.Runners:
		l.runners = nil
	case l.runners != nil:
		b.Steps = append(b.Steps, Step{Input: l.runners, from: before, to: before})
		b.runners, l.runners = l.runners, nil
	}
	if in.At > 0 && (b.Oldest == 0 || in.At < b.Oldest) {
		b.Oldest = in.At
	}
	b.Steps = append(b.Steps, Step{Input: in, from: before, to: len(b.Effects)})
}

// refused reports whether effects are nothing but refusals.
func refused(effects []tree.Effect) bool {
	for _, e := range effects {
		if e.Kind != tree.DoReply || e.Result == tree.OK {
			return false
		}
	}
	return true
}

// keepRunners keeps the news of runners for a later decision when this one will
// not be stored: what is decided next depends on them.
func (l *Leader) keepRunners(b *Batch) {
	if len(b.Changes) == 0 && l.runners == nil {
		l.runners = b.runners
	}
}

// Advance tells that a decision is stored, where it must be. What was decided
// may be done from now on.
func (l *Leader) Advance(b *Batch) Outcome {
	l.deciding = nil
	out := Outcome{Effects: b.Effects}
	if b.MustStore() {
		l.number = b.Number
	}
	if l.copy != nil {
		l.copy.Update(b.Changes)
	}
	out.Settled, out.Revisit = l.settled(b), b.revisit
	for _, f := range out.Settled {
		l.Forget(f)
	}
	out.Listen, out.Deafen = l.follow(b.Changes)
	l.due = append(l.due, b.Orders...)
	switch l.stage {
	case Claiming:
		l.stage = Claimed
	case Configuring:
		l.stage = Leading
		l.gather(b.At, l.opt.Announced)
		out.Listen = append(out.Listen, l.listenAll()...)
		l.due = append(l.due, l.outstanding(nil)...)
	case Leading:
		if len(b.seen) > 0 {
			l.due = append(l.due, l.outstanding(b.seen)...)
		}
	}
	return out
}

// Due takes the orders whose decisions are stored, but for starts that are held back:
// a predecessor decided on those, and what runners have may tell otherwise.
func (l *Leader) Due() []Order {
	due := l.due
	l.due = nil
	return slices.DeleteFunc(due, func(o Order) bool {
		held := o.Kind == tree.DoStart && (l.tree.HeldBack(o.Node, o.Runner) || l.Gathering(l.clock) && l.tree.Roams(o.Node))
		if held {
			l.due = append(l.due, o)
		}
		return held || !l.wanted(o)
	})
}

// Forget gives up the starts that are held back of an agent's incarnations up to one:
// what they were for is settled.
func (l *Leader) Forget(f Fence) {
	l.due = slices.DeleteFunc(l.due, func(o Order) bool { return o.Node == f.Agent && o.Incarnation <= f.Incarnation })
}

// Lose notes that an incarnation is being reported as lost with its host. Its start is
// given up.
func (l *Leader) Lose(f Fence) {
	l.lost[f.Agent] = f.Incarnation
	l.Forget(f)
}

// Lost reports whether an incarnation was reported as lost with its host.
func (l *Leader) Lost(agent string, incarnation uint64) bool {
	return incarnation > 0 && l.lost[agent] == incarnation
}

// wanted reports whether a start that was held back is still what the tree waits for.
func (l *Leader) wanted(o Order) bool {
	if o.Kind != tree.DoStart {
		return true
	}
	_, st, ok := l.tree.Lookup(o.Node)
	return ok && st.Phase == tree.Starting && st.Incarnation == o.Incarnation && st.Runner == o.Runner
}

// now is the time, which never goes back.
func (l *Leader) now(now tree.Instant) tree.Instant {
	l.clock = max(l.clock, now)
	return l.clock
}
