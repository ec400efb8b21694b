package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// State is what the log says of a tree.
type State struct {
	Tree tree.Snapshot
	// Cursor is the sequence of the last event that the tree has taken into
	// account; the next is the first that it has not.
	Cursor uint64
	// Fresh is set when the log knows nothing of the tree.
	Fresh bool
	// Folded is how many decisions were read beyond the snapshot.
	Folded int
	// Missing is how many decisions between the snapshot and those were not there:
	// the log kept them for less time than was needed.
	Missing uint64
}

// Load reads the tree: the last snapshot, and every decision since. From then
// on Append continues there. A snapshot that cannot be read is ignored with a
// warning and the log is read from its beginning.
func (j *Journal) Load(ctx context.Context) (State, error) {
	s, err := j.readSnapshot(ctx)
	if err != nil {
		return State{}, fmt.Errorf("read the snapshot of tree %s: %w", j.tree, err)
	}
	j.assured = j.env.NC.Stats().Reconnects
	j.number, j.last, j.saved = s.Number, s.Sequence, s.Number
	st := State{Tree: s.Tree, Cursor: s.Cursor}
	last, err := j.lastMessage(ctx)
	if err != nil {
		return State{}, err
	}
	defer func() { j.knows(last) }()
	log, err := j.state(ctx)
	if err != nil {
		return State{}, err
	}
	end := log.LastSeq
	if end < s.Sequence || end < s.Cursor {
		j.env.Log.Warn("the log is older than the stored snapshot: it has lost its tail, or is another; going on from the snapshot",
			"tree", j.tree, "end", end, "snapshot", s.Sequence)
		st.Cursor = min(st.Cursor, end)
		j.saved = 0 // the next snapshot is due: this one names places that the log will give to others
	}
	switch {
	case last == nil:
		j.last = 0 // the log forgets what is old; the snapshot has it
		if st.Fresh = s.Number == 0; st.Fresh {
			st.Cursor = end // a new tree has no past
		}
		return st, nil
	case !j.newer(last, s):
		j.last = last.Sequence
		return st, nil
	case last.Sequence <= s.Sequence:
		j.last = 0 // decided after the log had lost its tail
	}
	if err := j.fold(ctx, &st, last.Sequence); err != nil {
		return State{}, err
	}
	if st.Missing > 0 {
		j.env.Log.Error("the log has forgotten decisions that the last snapshot lacks; what they said is lost, and the tree is completed from the configuration and from what runners have",
			"tree", j.tree, "decisions", st.Missing, "incomplete", st.Tree.Prune())
	}
	return st, nil
}

// newer reports whether a message of the tree is of a decision that the snapshot
// lacks.
func (j *Journal) newer(last *jetstream.RawStreamMsg, s snapshot) bool {
	m, err := decisionlog.Decode(last.Subject, last.Data, last.Sequence)
	if err != nil {
		return last.Sequence > s.Sequence // folding reports it
	}
	return m.Data.Number > s.Number
}

// state tells from where to where the stream reaches.
func (j *Journal) state(ctx context.Context) (jetstream.StreamState, error) {
	return stateOf(ctx, j.stream)
}

// fold applies the tree's messages up to and including a sequence.
func (j *Journal) fold(ctx context.Context, st *State, until uint64) error {
	var decisions decisionlog.Assembly
	var shared tree.Shared
	for msg, err := range j.readDecisions(ctx, j.last, until) {
		if err != nil {
			return err
		}
		j.last = msg.sequence
		part, err := decisionlog.Decode(msg.Subject(), msg.Data(), j.last)
		if err != nil {
			j.env.Log.Error("a decision in the log cannot be read and is left out", "tree", j.tree, "sequence", j.last, "error", err)
			if j.Rejects != nil {
				j.Rejects.Reject(ctx, shell.Message{Kind: "decision", Subject: msg.Subject(), Sequence: j.last, Body: msg.Data()}, err)
			}
			continue
		}
		d, err := decisions.Add(part)
		if errors.Is(err, tree.ErrVersion) {
			return err
		}
		if err != nil {
			j.env.Log.Error("changes in the log cannot be read and are left out", "tree", j.tree, "sequence", j.last, "error", err)
		}
		if d != nil {
			j.apply(st, d, &shared)
		}
	}
	return nil
}

// apply folds a decision into the tree.
func (j *Journal) apply(st *State, d *decisionlog.Decision, shared *tree.Shared) {
	if d.Number <= j.number {
		return // the snapshot has it
	}
	if d.Torn {
		j.env.Log.Error("the log has forgotten how a decision began; the tree may lack changes", "tree", j.tree, "decision", d.Number)
		st.Missing++
	}
	if d.Before() != j.number {
		j.env.Log.Error("decisions are missing from the log; the tree may lack changes", "tree", j.tree, "after", j.number, "next", d.Number)
		st.Missing += max(d.Number, j.number+1) - j.number - 1
	}
	j.number, st.Cursor = d.Number, d.Cursor
	st.Folded++
	for i := range d.Changes {
		shared.Change(&d.Changes[i])
		st.Tree.Apply(d.Changes[i])
	}
}
