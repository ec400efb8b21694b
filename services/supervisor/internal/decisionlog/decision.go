package decisionlog

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Decision is one decision about a tree, whole, as the log has it.
type Decision struct {
	Tree string
	// ID is that of its event; Type names the gravest thing in it.
	ID   string
	Type contracts.EventType
	// Cause and Chain are the event's causation and correlation.
	Cause, Chain string
	// Supervisor is the instance that decided.
	Supervisor string
	// Number counts the tree's decisions, Cursor is the place in the log of the
	// last evidence that was applied.
	Number, Cursor uint64
	// Skipped is how many numbers before this one were used, and the log does not
	// have them.
	Skipped uint64
	At      tree.Instant
	Inputs  []contracts.DecisionInput
	Effects []contracts.DecisionEffect
	Changes []tree.Change

	// Torn says that the log has its end only, and has forgotten how it began.
	Torn bool

	// First and Sequence are the places of its first and last message in the
	// log, and Bytes is how large it is there; 0 before it is stored.
	First, Sequence uint64
	Bytes           int
}

// Before is the number of the decision before this one, 0 for the first.
func (d *Decision) Before() uint64 { return d.Number - min(d.Number, 1+d.Skipped) }

// Of writes down what a leader decided: what was decided upon, and what each of
// it led to. The error names inputs that cannot be decided again from the log;
// the decision counts all the same.
func Of(treeName, supervisor string, b *leader.Batch) (*Decision, error) {
	d := &Decision{
		Tree: treeName, Supervisor: supervisor, ID: b.ID, Number: b.Number, Cursor: b.Cursor, At: b.At, Changes: b.Changes,
	}
	if b.Claims() {
		d.Type = contracts.TreeDecided
		d.Inputs = []contracts.DecisionInput{{Kind: Takeover, At: d.At.Time(), Detail: "supervisor " + supervisor + " decides from now on"}}
		return d, nil
	}
	d.Inputs, d.Effects = make([]contracts.DecisionInput, 0, len(b.Steps)), make([]contracts.DecisionEffect, 0, len(b.Effects))
	var errs []error
	for _, s := range b.Steps {
		if err := d.step(s, b.EffectsOf(s)); err != nil {
			errs = append(errs, err)
		}
	}
	d.Type = cmp.Or(d.Type, contracts.TreeDecided)
	return d, errors.Join(errs...)
}

// step adds an input with its effects.
func (d *Decision) step(s leader.Step, effects []tree.Effect) error {
	if d.Cause == "" && d.Chain == "" {
		d.Cause, d.Chain = s.Event, s.Chain
	}
	in, err := WriteInput(s.Input.Input)
	in.Sequence = s.Seq
	if in.At.IsZero() {
		in.At = d.At.Time()
	}
	d.Inputs = append(d.Inputs, in)
	for _, e := range effects {
		if d.Cause == "" && e.Event != d.ID && (d.Chain == "" || d.Chain == e.Chain) {
			// A timer or a result continues the story of what it moves.
			d.Cause, d.Chain = e.Event, e.Chain
		}
		if e.Kind == tree.DoReply {
			continue
		}
		out := writeEffect(e, len(d.Inputs)-1, d.At)
		if e.Event != s.Event && e.Event != d.ID {
			out.Cause = e.Event
		}
		d.Effects = append(d.Effects, out)
		d.Type = graver(d.Type, e.Kind)
	}
	return err
}

// Message is one message of a decision, as read.
type Message struct {
	Event    contracts.Event
	Data     contracts.DecisionsData
	Sequence uint64
}

// Decode reads a message on one of a tree's subjects.
func Decode(subject string, body []byte, sequence uint64) (Message, error) {
	ev, err := contracts.DecodeEvent(subject, body)
	if err != nil {
		return Message{}, err
	}
	d, err := contracts.DecodeData[contracts.DecisionsData](ev)
	return Message{ev, d, sequence}, err
}

// Assembly puts decisions together from their messages, in the log's order. The
// zero value is ready.
type Assembly struct{ parts leader.Fold[Message] }

// Add takes the tree's next message and returns its decision when it is whole.
// The error names changes that cannot be read; the decision has all others. What
// only a newer program can read is [tree.ErrVersion], and no decision.
func (a *Assembly) Add(m Message) (*Decision, error) {
	if err := tree.CheckVersion(m.Data.Version); err != nil {
		return nil, fmt.Errorf("decision %d of tree %s: %w", m.Data.Number, m.Data.Tree, err)
	}
	whole := a.parts.Add(m.Event.ID, m, m.Data.More)
	if whole == nil {
		return nil, nil
	}
	first := &whole[0]
	d := &Decision{
		Tree: first.Data.Tree, Supervisor: first.Data.Supervisor, Number: first.Data.Number, Skipped: first.Data.Skipped, Cursor: first.Data.Cursor,
		ID: first.Event.ID, Type: first.Event.Type, Cause: first.Event.CausationID, Chain: first.Event.CorrelationID,
		At: tree.Instant(first.Event.Time.UnixNano()), First: first.Sequence, Sequence: m.Sequence, Torn: first.Data.Part > 0,
	}
	var errs []error
	for _, part := range whole {
		d.Inputs, d.Effects = append(d.Inputs, part.Data.Inputs...), append(d.Effects, part.Data.Effects...)
		for id, raw := range part.Data.Changes {
			d.Bytes += len(raw)
			c, err := tree.ReadChange(part.Data.Version, id, raw)
			if err != nil {
				errs = append(errs, fmt.Errorf("decision %d, change of %s: %w", d.Number, id, err))
				continue
			}
			d.Changes = append(d.Changes, c)
		}
	}
	d.Bytes += 200 * (len(d.Inputs) + len(d.Effects))
	return d, errors.Join(errs...)
}
