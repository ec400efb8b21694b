// Package proposals sets what was proposed in shadow mode beside what really
// happened then. It is pure: it is given decisions and events in the log's
// order.
package proposals

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// most is how many proposals are looked at together.
const most = 100_000

// ErrMany tells that there are more.
var ErrMany = fmt.Errorf("more than %d proposals; choose a shorter time", most)

// Signs are the types of events that tell what became of an agent.
func Signs() []contracts.EventType {
	return []contracts.EventType{
		contracts.AgentCreated, contracts.AgentStarted, contracts.AgentStopped,
		contracts.AgentRecovered, contracts.AgentStateChanged,
	}
}

// Ledger collects proposals and their outcomes. Only reports whether a node is of
// interest; nil means that all are.
type Ledger struct {
	Only func(node string) bool

	all []*contracts.Proposal
	// open are the last proposals about each node that nothing is known of yet.
	open map[string]*contracts.Proposal
	// first and last are the decisions that the record begins and ends with.
	first, last contracts.TreeMark
}

// Decided takes the next decision into account; the error is ErrMany.
func (l *Ledger) Decided(d *decisionlog.Decision) error {
	l.last = contracts.TreeMark{Decision: d.Number, Sequence: d.Sequence, At: d.At.Time()}
	if l.first.Decision == 0 {
		l.first = l.last
	}
	for _, e := range d.Effects {
		if e.Kind != string(tree.Propose) {
			l.deed(d, e)
			continue
		}
		if l.Only != nil && !l.Only(e.Node) {
			continue
		}
		if len(l.all) == most {
			return ErrMany
		}
		p := &contracts.Proposal{
			At: d.At.Time(), Decision: d.Number, Sequence: d.Sequence, Node: e.Node, Action: e.Action, Due: e.Due, Reason: e.Detail,
			Outcome: contracts.OutcomeNothing, Really: "nothing was seen of it",
		}
		if e.Input >= 0 && e.Input < len(d.Inputs) {
			p.Cause = d.Inputs[e.Input].Event
		}
		if was := l.open[e.Node]; was != nil {
			was.Really += " before the next proposal"
		}
		if l.open == nil {
			l.open = map[string]*contracts.Proposal{}
		}
		l.open[e.Node] = p
		l.all = append(l.all, p)
	}
	return nil
}

// deed looks at what was decided and done: after a change of the mode a
// supervisor may itself do what it had proposed.
func (l *Ledger) deed(d *decisionlog.Decision, e contracts.DecisionEffect) {
	p := l.open[e.Node]
	if p == nil {
		return
	}
	switch tree.EffectKind(e.Kind) {
	case tree.DoStart:
		l.close(p, contracts.OutcomeSame, fmt.Sprintf("this supervisor started it as incarnation %d, its mode having changed", e.Incarnation), d.At.Time(), d.ID)
	case tree.NoteForeign:
		l.close(p, contracts.OutcomeAlive, "it was found running when its mode had changed", d.At.Time(), d.ID)
	case tree.NoteRunning:
		l.close(p, contracts.OutcomeAlive, fmt.Sprintf("incarnation %d was found running when its mode had changed", e.Incarnation), d.At.Time(), d.ID)
	case tree.NoteRemove:
		l.close(p, contracts.OutcomeOther, "it was removed from the tree", d.At.Time(), d.ID)
	case tree.EffectKind(p.Action):
		l.close(p, contracts.OutcomeSame, "this supervisor did so: "+e.Detail, d.At.Time(), d.ID)
	}
}

// Happened takes the next event about an agent into account.
func (l *Ledger) Happened(ev contracts.Event) {
	p := l.open[ev.Entity]
	if p == nil || ev.Time.Before(p.At.Add(-skew)) {
		return
	}
	switch ev.Type {
	case contracts.AgentRecovered:
		d, err := contracts.DecodeData[contracts.AgentRecoveredData](ev)
		switch {
		case err != nil:
		case d.Process == contracts.ProcessNew:
			l.close(p, contracts.OutcomeSame, "somebody else restarted it: it beats again, as a new process", ev.Time, ev.ID)
		case d.Process == contracts.ProcessSame:
			l.close(p, contracts.OutcomeRecovered, "it recovered by itself: the same process beats again", ev.Time, ev.ID)
		default:
			l.close(p, contracts.OutcomeAlive, "it beats again; it does not tell whether as the same process", ev.Time, ev.ID)
		}
	case contracts.AgentCreated:
		l.close(p, contracts.OutcomeSame, "somebody else started it anew", ev.Time, ev.ID)
	case contracts.AgentStarted:
		if d, err := contracts.DecodeData[contracts.AgentStartedData](ev); err == nil {
			l.close(p, contracts.OutcomeSame, fmt.Sprintf("runner %.64s started it as incarnation %d", d.Runner, d.Incarnation), ev.Time, ev.ID)
		}
	case contracts.AgentStopped:
		if d, err := contracts.DecodeData[contracts.AgentStoppedData](ev); err == nil {
			l.close(p, contracts.OutcomeOther, fmt.Sprintf("it ended in order (%.64s)", d.Reason), ev.Time, ev.ID)
		}
	case contracts.AgentStateChanged:
		d, err := contracts.DecodeData[contracts.AgentStateChangedData](ev)
		if err == nil && d.To == contracts.HealthHealthy && d.From != contracts.HealthDegraded {
			l.close(p, contracts.OutcomeAlive, "it beats again; it does not tell whether as the same process", ev.Time, ev.ID)
		}
	}
}

// skew is how far the clocks of those who write events may differ: the log's
// order is what counts, but an event may be late in it.
const skew = 10 * time.Second

func (l *Ledger) close(p *contracts.Proposal, o contracts.ProposalOutcome, really string, at time.Time, event string) {
	delete(l.open, p.Node)
	p.Outcome, p.Really, p.After, p.Event = o, really, contracts.Duration(max(0, at.Sub(p.At))), event
}

// Reply returns the latest proposals, at most limit. Its tree is the caller's.
func (l *Ledger) Reply(limit int) contracts.ProposalsReply {
	reply := contracts.ProposalsReply{
		From: l.first, To: l.last, Total: len(l.all), Proposals: []contracts.Proposal{},
		Outcomes: map[contracts.ProposalOutcome]int{},
	}
	for i, p := range l.all {
		reply.Outcomes[p.Outcome]++
		if i >= len(l.all)-limit {
			reply.Proposals = append(reply.Proposals, *p)
		}
	}
	return reply
}
