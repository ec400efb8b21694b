package keeper

import (
	"cmp"
	"context"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/plan"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Plan says what a configuration would change. Nothing is changed.
func (k *Keeper) Plan(ctx context.Context, req contracts.ConfigRequest) (contracts.ConfigPlan, error) {
	c, in, refused, err := k.readConfig(req, k.findEnvironment)
	if err != nil || refused != nil {
		return k.problem(refused), err
	}
	p, _, err := k.planNow(ctx, c, in)
	return p, err
}

// Apply has a configuration decided upon, as one decision. On any mistake, and
// when it would change other things than the caller expects, nothing is changed.
func (k *Keeper) Apply(ctx context.Context, req contracts.ConfigRequest) (contracts.ConfigPlan, error) {
	c, in, refused, err := k.readConfig(req, k.keepEnvironment(ctx))
	if err != nil || refused != nil {
		return k.problem(refused), err
	}
	known := true
	defer func() {
		if known { // else it may be decided yet, and needs them
			k.release(in.Specs, in.Configuration)
		}
	}()
	if p, done, err := k.offered(ctx, req, in); done || err != nil {
		return p, err
	}
	for range maxTries {
		p, revision, err := k.planNow(ctx, c, in)
		if err != nil || len(p.Problems) > 0 {
			return p, err
		}
		if req.Plan != "" && req.Plan != p.Plan {
			return p, shell.Errorf(contracts.CodeConflict, "apply: the tree has changed, and with it what the configuration would change; nothing is changed. Look at the plan against decision %d", p.Decision)
		}
		in.Revision, in.Token = revision, newID()
		a, err := k.send(ctx, &in)
		switch {
		case err != nil:
			known = false
			return p, err
		case a.result == tree.Stale:
			continue
		case a.result != tree.OK:
			return k.problem([]contracts.ConfigProblem{{Message: a.reason}}), nil
		}
		p.Applied = true
		return p, k.ask(ctx, func() {
			k.useFile(c.File)
			if a.reason != "" {
				p.Rolling = rollingOf(k.tree, a.reason) // it may be that of an earlier one
			}
		})
	}
	return contracts.ConfigPlan{}, shell.Errorf(contracts.CodeNotReady, "apply: the tree changes all the time; nothing is changed; try again")
}

// maxTries bounds the attempts to plan and apply between two other decisions.
const maxTries = 20

// readConfig reads a request: what is wrong with its file is not an error.
func (k *Keeper) readConfig(req contracts.ConfigRequest, ref Refer) (c Configuration, in tree.Input, refused []contracts.ConfigProblem, err error) {
	if req.MaxUnavailable < 0 || req.Keep && req.MaxUnavailable > 0 {
		return c, in, nil, shell.Errorf(contracts.CodeBadRequest, "max_unavailable: %d; use at least 1, and none with keep", req.MaxUnavailable)
	}
	name := contracts.Clip(shell.OneLine(cmp.Or(req.Name, "configuration")), maxReason)
	text, err := req.Text()
	if err != nil {
		return c, in, nil, shell.Errorf(contracts.CodeBadRequest, "%v", err)
	}
	c, err = k.opt.Read(name, text)
	if err != nil {
		return c, in, problems(err), nil
	}
	if c.File.Tree.Name != k.opt.Tree {
		return c, in, []contracts.ConfigProblem{{
			File: name, Setting: "supervision_tree.name",
			Message: "the file configures tree " + c.File.Tree.Name + ", and this is tree " + k.opt.Tree + "; a tree keeps its name: to have another one, drain this one and start a supervisor with the other file",
		}}, nil
	}
	c.Source = contracts.Clip(shell.OneLine(req.Source), maxReason)
	in = tree.Input{Kind: tree.Configure, Reason: because("apply "+name, req.Reason), By: operator(req.By)}
	if in.Specs, in.Configuration, err = k.seal(c, ref); err != nil {
		return c, in, nil, shell.Errorf(contracts.CodeNotReady, "apply: nothing is changed: %v; try again", err)
	}
	if !req.Keep {
		in.Configuration.MaxUnavailable, in.Configuration.UsualBound = cmp.Or(req.MaxUnavailable, 1), req.MaxUnavailable == 0
	}
	return c, in, nil, nil
}

// offered handles a file that a supervisor comes with which joins: unless it was
// edited since it was last read, it is only remembered.
func (k *Keeper) offered(ctx context.Context, req contracts.ConfigRequest, in tree.Input) (p contracts.ConfigPlan, done bool, err error) {
	if !req.Joining {
		return p, false, nil
	}
	var offer tree.Offer
	var number uint64
	if err := k.ask(ctx, func() {
		offer, number = k.tree.Configured().Consider(in.Configuration.Source, in.Configuration.Digest, tree.Joins), k.journal.Number()
	}); err != nil {
		return p, true, err
	}
	p = contracts.ConfigPlan{Tree: k.opt.Tree, Decision: number, Changes: []contracts.PlannedChange{}}
	switch offer {
	case tree.Take:
		return p, false, nil
	case tree.Same:
		p.Applied = true
	case tree.Known:
		p.Note = "it was not edited since it was last read; another configuration was applied meanwhile and stays in force"
	case tree.Strange:
		p.Note = "it differs from the configuration in force and was never read before; it is not applied: have it read with smith config apply, or with SIGHUP to the supervisor that has it"
	}
	seen := *in.Configuration
	seen.MaxUnavailable, seen.UsualBound, seen.Text = 0, false, ""
	_, err = k.send(ctx, &tree.Input{Kind: tree.Configure, Keep: true, Reason: "a supervisor joins with its file", Configuration: &seen})
	return p, true, err
}

// planNow plans against the tree as it is, and returns the revision that the plan
// holds for.
func (k *Keeper) planNow(ctx context.Context, c Configuration, in tree.Input) (p contracts.ConfigPlan, revision uint64, err error) {
	var snapshot tree.Snapshot
	var number uint64
	if err := k.ask(ctx, func() {
		snapshot, number, revision = k.tree.Snapshot(), k.journal.Number(), k.tree.Revision()
	}); err != nil {
		return p, 0, err
	}
	if refused := unstated(c.File, snapshot); refused != nil {
		return k.problem(refused), revision, nil
	}
	p, objections, err := plan.Of(snapshot, in, tree.Instant(time.Now().UnixNano()))
	if err != nil {
		return p, 0, err
	}
	p.Tree, p.Decision = k.opt.Tree, number
	if len(objections) > 0 {
		p = k.problem(objected(c.File, objections))
	}
	return p, revision, nil
}

// unstated lists what is wrong with a file that does not say what the tree has,
// while the tree has configured agents.
func unstated(f *config.File, s tree.Snapshot) []contracts.ConfigProblem {
	if f.StatesTree() {
		return nil
	}
	why := plan.Unstated(s)
	if why == "" {
		return nil
	}
	at := f.Place(config.TreeSetting)
	return []contracts.ConfigProblem{{File: f.Path, Line: int(at.Line), Column: int(at.Column), Setting: config.TreeSetting, Message: why}}
}

// objected gives what the tree objects to its place in the file.
func objected(f *config.File, objections []tree.Objection) []contracts.ConfigProblem {
	places := map[string]config.Position{}
	settings := map[string]string{}
	for _, n := range f.Tree.Nodes() {
		places[n.Name], settings[n.Name] = n.Pos, n.Setting
	}
	for _, a := range f.Tree.Agents() {
		places[a.Name], settings[a.Name] = a.Pos, a.Setting
	}
	out := make([]contracts.ConfigProblem, 0, len(objections))
	for _, o := range objections {
		p := contracts.ConfigProblem{File: f.Path, Message: o.Error(), Setting: settings[o.Node], Later: o.Later}
		p.Line, p.Column = int(places[o.Node].Line), int(places[o.Node].Column)
		out = append(out, p)
	}
	return out[:min(len(out), contracts.MaxPlannedChanges)]
}

func (k *Keeper) problem(p []contracts.ConfigProblem) contracts.ConfigPlan {
	return contracts.ConfigPlan{Tree: k.opt.Tree, Problems: p, Changes: []contracts.PlannedChange{}}
}

// useFile goes by the settings of a file that is in force now.
func (k *Keeper) useFile(f *config.File) {
	k.file.Store(f)
	k.opt.LostAfter, k.opt.DegradedFails = f.Placement.LostAfter, !f.Verification.AllowDegraded
}

// send has an input decided and returns the tree's answer. It is for what the
// tree answers in the same step.
func (k *Keeper) send(ctx context.Context, in *tree.Input) (answer, error) {
	who, err := k.hand(ctx, in)
	if err != nil {
		return answer{}, err
	}
	select {
	case a := <-who.reply:
		return a, nil
	case <-ctx.Done():
		return answer{}, shell.Errorf(contracts.CodeNotReady, "it is not known whether it was decided upon; look at the tree before you try again: %v", k.busy())
	}
}
