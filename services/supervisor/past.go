package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/history"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/keeper"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/rehearsal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// past answers questions about a tree's past, from the log alone: whoever
// decides about the tree is not disturbed.
type past struct {
	env   shell.Env
	tree  string
	state *guard.Guard
}

// serve opens the endpoints beside the keeper's.
func (p past) serve(api *shell.API) error {
	return errors.Join(
		shell.Handle(api, "diff", p.diff),
		shell.Handle(api, "rehearse", p.rehearse),
		shell.Handle(api, "proposals", p.proposals),
	)
}

// open returns the log for reading.
func (p past) open(ctx context.Context) (*journal.Journal, error) {
	return journal.Open(ctx, p.env, p.tree, journal.Guards{State: p.state})
}

// at returns the tree as it was.
func (p past) at(ctx context.Context, req contracts.TreeRequest) (contracts.TreeReply, error) {
	j, err := p.open(ctx)
	if err != nil {
		return contracts.TreeReply{}, err
	}
	st, err := history.At(ctx, j, req.Moment)
	if err != nil {
		return contracts.TreeReply{}, p.refuse(describe(req.Moment), err)
	}
	root, found, err := p.view(st, req.Node)
	if err == nil && !found {
		err = shell.Errorf(contracts.CodeNotFound, "tree %s had no node %.80q after decision %d", p.tree, req.Node, st.Mark.Decision)
	}
	return contracts.TreeReply{
		Tree: p.tree, Supervisor: st.Supervisor, Decision: st.Mark.Decision, Sequence: st.Mark.Sequence, At: &st.Mark.At, Root: root,
	}, err
}

// view describes a node of a past tree; the empty name means the root.
func (p past) view(st history.State, node string) (contracts.NodeView, bool, error) {
	t, err := tree.Load(tree.Options{}, st.Tree)
	if err != nil {
		return contracts.NodeView{}, false, fmt.Errorf("tree %s after decision %d: %w", p.tree, st.Mark.Decision, err)
	}
	if node == "" {
		if node = t.Root(); node == "" {
			return contracts.NodeView{}, true, nil
		}
	}
	v, ok := keeper.View(t, node, true, tree.Instant(st.Mark.At.UnixNano()))
	return v, ok, nil
}

func (p past) diff(ctx context.Context, req contracts.DiffRequest) (contracts.DiffReply, error) {
	reply := contracts.DiffReply{Tree: p.tree}
	j, err := p.open(ctx)
	if err != nil {
		return reply, err
	}
	var views [2]contracts.NodeView
	var any bool
	for i, m := range []contracts.Moment{req.From, req.To} {
		st, err := history.At(ctx, j, m)
		if err != nil {
			return reply, p.refuse(describe(m), err)
		}
		v, found, err := p.view(st, req.Node)
		if err != nil {
			return reply, err
		}
		views[i], any = v, any || found
		if i == 0 {
			reply.From = st.Mark
		} else {
			reply.To = st.Mark
		}
	}
	if !any {
		return reply, shell.Errorf(contracts.CodeNotFound, "tree %s had no node %.80q at either moment", p.tree, req.Node)
	}
	reply.Nodes, reply.Same = history.Diff(views[0], views[1])
	return reply, nil
}

// rehearse decides the past again under another configuration.
func (p past) rehearse(ctx context.Context, req contracts.RehearseRequest) (contracts.RehearseReply, error) {
	var none contracts.RehearseReply
	if req.Beyond != "" && req.Beyond != "run" && req.Beyond != "repeat" {
		return none, shell.Errorf(contracts.CodeBadRequest, "beyond: %.80q; use run or repeat", req.Beyond)
	}
	text, err := req.Text()
	if err != nil {
		return none, shell.Errorf(contracts.CodeBadRequest, "%v", err)
	}
	all, err := configured(cmp.Or(req.Name, "configuration"), text, p.tree)
	if err != nil {
		return none, shell.Errorf(contracts.CodeBadRequest, "%v", err)
	}
	j, err := p.open(ctx)
	if err != nil {
		return none, err
	}
	st, decisions, end, err := history.Between(ctx, j, req.From, req.To)
	if err != nil {
		since := "its beginning"
		if !req.From.IsZero() {
			since = describe(req.From)
		}
		return none, p.refuse(since+" to "+describe(req.To), err)
	}
	rec := record(st, decisions, req, tree.Instant(time.Now().UnixNano()))
	reply, err := rehearsal.Run(rec, rehearsal.Options{Specs: all, Repeat: req.Beyond == "repeat"})
	switch {
	case errors.Is(err, rehearsal.ErrConfig), errors.Is(err, rehearsal.ErrEndless):
		return none, shell.Errorf(contracts.CodeBadRequest, "%v", err)
	case errors.Is(err, rehearsal.ErrRecord):
		return none, shell.Errorf(contracts.CodeConflict, "tree %s: %v", p.tree, err)
	case err != nil:
		return none, err
	}
	reply.Tree, reply.From, reply.To = p.tree, st.Mark, end
	reply.From.At, reply.To.At = rec.From.Time(), rec.To.Time()
	return reply, nil
}

// record returns a part of the past as rehearsals know it. It begins and ends at
// the times asked for, or with the decisions, and ends by now.
func record(st history.State, decisions []*decisionlog.Decision, req contracts.RehearseRequest, now tree.Instant) rehearsal.Record {
	rec := rehearsal.Record{Tree: st.Tree, Runners: st.Runners, From: decisions[0].At, To: now}
	switch {
	case st.Mark.Decision == 0 || st.Mark.At.IsZero():
	case req.From.Sequence == 0 && req.From.At != nil:
		rec.From = tree.Instant(req.From.At.UnixNano())
	default:
		rec.From = tree.Instant(st.Mark.At.UnixNano())
	}
	last := decisions[len(decisions)-1].At
	switch {
	case req.To.Sequence > 0:
		rec.To = last
	case req.To.At != nil && req.To.At.Before(now.Time()): // times far off are no instants
		rec.To = tree.Instant(req.To.At.UnixNano())
	}
	rec.To = max(rec.To, last)
	rec.Past = decisions
	return rec
}

// refuse turns an error about a moment into an answer.
func (p past) refuse(when string, err error) error {
	switch {
	case errors.Is(err, history.ErrNothing), errors.Is(err, history.ErrForgotten), errors.Is(err, history.ErrGap):
		return shell.Errorf(contracts.CodeNotFound, "tree %s at %s: %v", p.tree, when, err)
	case errors.Is(err, history.ErrLong), errors.Is(err, history.ErrOrder):
		return shell.Errorf(contracts.CodeBadRequest, "tree %s from %s: %v", p.tree, when, err)
	case errors.Is(err, context.DeadlineExceeded):
		return shell.Errorf(contracts.CodeNotReady, "tree %s at %s: reading the log took longer than %s", p.tree, when, shell.RequestTimeout)
	}
	return err
}

func describe(m contracts.Moment) string {
	switch {
	case m.Sequence > 0:
		return fmt.Sprintf("sequence %d", m.Sequence)
	case m.At != nil:
		return m.At.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return "present"
}

// configured reads a configuration that is only tried out.
func configured(name, text, treeName string) ([]*tree.Spec, error) {
	f, err := config.Parse(name, []byte(text))
	if err != nil {
		return nil, err
	}
	if f.Tree.Name != treeName {
		return nil, fmt.Errorf("%s: it configures tree %s; this is tree %s", name, f.Tree.Name, treeName)
	}
	return specs(f)
}
