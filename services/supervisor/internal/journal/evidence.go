package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
)

// Record is a decision of the tree, or an event about an agent.
type Record struct {
	Decision *decisionlog.Decision
	Event    contracts.Event
}

// ReadRecords calls each with the tree's decisions and the events of some types
// that are stored from one moment to another, in the log's order, until each
// gives an error. What cannot be read is left out.
func (j *Journal) ReadRecords(ctx context.Context, from, to contracts.Moment, types []contracts.EventType, each func(Record) error) error {
	subjects := []string{contracts.TreeWildcard(j.tree)}
	for _, t := range types {
		subjects = append(subjects, contracts.EventTypeWildcard(t))
	}
	last, err := j.LastOf(ctx, subjects)
	if err != nil {
		return j.unread(err)
	}
	if to.Sequence > 0 {
		last = min(last, to.Sequence)
	}
	if last == 0 || from.Sequence > last {
		return nil
	}
	msgs, err := j.messagesFrom(ctx, from, subjects)
	if err != nil {
		return j.unread(err)
	}
	if msgs == nil {
		return nil
	}
	var decisions decisionlog.Assembly
	for msg, err := range read(ctx, msgs, 0, last) {
		if err != nil {
			return j.unread(err)
		}
		if msg.sequence > last || to.Sequence == 0 && to.At != nil && msg.stored.After(*to.At) {
			return nil
		}
		if r, ok := record(&decisions, msg); ok {
			if err := each(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *Journal) unread(err error) error {
	return fmt.Errorf("read the record of tree %s: %w", j.tree, err)
}

// messagesFrom returns the messages on some subjects from a moment on, or nil when
// all of them are older.
func (j *Journal) messagesFrom(ctx context.Context, from contracts.Moment, subjects []string) (jetstream.MessagesContext, error) {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case from.Sequence > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from.Sequence
	case from.At != nil:
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, from.At
	}
	cons, err := j.stream.OrderedConsumer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	info, err := cons.Info(ctx)
	if err != nil || info.NumPending == 0 && info.Delivered.Consumer == 0 {
		return nil, err
	}
	return cons.Messages()
}

// record reads the message at a place; ok is false for what cannot be read and
// for parts of a decision that is not whole yet.
func record(decisions *decisionlog.Assembly, msg logged) (r Record, ok bool) {
	ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
	if err != nil {
		return r, false
	}
	r.Event = ev
	if ev.Type.Family() != contracts.FamilyTree {
		return r, true
	}
	data, err := contracts.DecodeData[contracts.DecisionsData](ev)
	if err != nil {
		return r, false
	}
	// Changes that cannot be read are nothing to the record.
	r.Decision, _ = decisions.Add(decisionlog.Message{Event: ev, Data: data, Sequence: msg.sequence})
	return r, r.Decision != nil
}

// LastOf is the place of the last message on any of some subjects, 0 where
// there is none.
func (j *Journal) LastOf(ctx context.Context, subjects []string) (uint64, error) {
	var last uint64
	for _, s := range subjects {
		msg, err := j.stream.GetLastMsgForSubject(ctx, s)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		last = max(last, msg.Sequence)
	}
	return last, nil
}
