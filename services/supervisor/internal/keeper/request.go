package keeper

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// validID reports why a field of a request is not an id.
func validID(field, id string) error {
	if err := contracts.ValidateID(id); err != nil {
		return shell.Errorf(contracts.CodeBadRequest, "%s: %v", field, err)
	}
	return nil
}

// nodeOrder reads requests that name nothing but a node.
func nodeOrder(kind tree.CommandKind) func(contracts.NodeRequest) (tree.Input, error) {
	return func(req contracts.NodeRequest) (tree.Input, error) {
		return tree.Input{Command: kind, Node: req.Node, Reason: because(string(kind), req.Reason)}, validID("node", req.Node)
	}
}

// drainOrder stops the whole tree, whatever node the request names; it stays down
// until its root is restarted.
func drainOrder(req contracts.NodeRequest) (tree.Input, error) {
	return tree.Input{Command: tree.CmdTerminate, Reason: because("drain", req.Reason)}, nil
}

// add has an agent added. Its environment is stored before that is decided, so
// that a successor has it, too; an order that is asked again stores none.
func (k *Keeper) add(ctx context.Context, req contracts.AddRequest) (contracts.OrderReply, error) {
	none := contracts.OrderReply{}
	ctx, cancel, err := patience(ctx, req.OrderOptions)
	if err != nil {
		return none, err
	}
	defer cancel()
	spec, vars, err := k.opt.Child(k.file.Load(), req)
	if err != nil {
		return none, shell.Errorf(contracts.CodeBadRequest, "add: %v", err)
	}
	if spec, err = sealAgent(spec, vars, k.keepEnvironment(ctx), sealedAgents{}); err != nil {
		return none, shell.Errorf(contracts.CodeNotReady, "add of %s: nothing is changed: %v; try again", req.Child.Name, err)
	}
	reply, err := k.order(ctx, tree.Input{Command: tree.CmdAdd, Node: spec.ID, Spec: spec, Token: req.Token, Reason: "add under " + spec.Parent, By: operator(req.By)})
	var refused *shell.APIError
	if err == nil || errors.As(err, &refused) && refused.Code != contracts.CodeNotReady { // then it may be decided yet
		k.release([]*tree.Spec{spec}, nil)
	}
	return reply, err
}

// maxCount bounds the instances of a template, as in the configuration.
const maxCount = 10_000

func scaleOrder(req contracts.ScaleRequest) (tree.Input, error) {
	bad := func(format string, args ...any) (tree.Input, error) {
		return tree.Input{}, shell.Errorf(contracts.CodeBadRequest, format, args...)
	}
	if err := validID("template", req.Template); err != nil {
		return tree.Input{}, err
	}
	if req.Count < 1 || req.Count > maxCount {
		return bad("count: %d is outside 1 to %d; terminate the instances to have none run", req.Count, maxCount)
	}
	if err := contracts.ValidateID(tree.Instance(req.Template, req.Count)); err != nil {
		return bad("template: the last of %d instances needs a name that is none: %v", req.Count, err)
	}
	return tree.Input{Command: tree.CmdScale, Node: req.Template, Count: req.Count, Reason: because("scale to "+strconv.Itoa(req.Count), req.Reason)}, nil
}

func moveOrder(req contracts.MoveRequest) (tree.Input, error) {
	in := tree.Input{Command: tree.CmdMove, Node: req.Node, To: req.Parent, Reason: because("move to "+req.Parent, req.Reason)}
	return in, cmp.Or(validID("node", req.Node), validID("parent", req.Parent))
}

// inherit takes a setting back that was made at run time.
const inherit = "inherit"

func modeOrder(req contracts.ModeRequest) (tree.Input, error) {
	if err := validID("node", req.Node); err != nil {
		return tree.Input{}, err
	}
	r, err := rollout(req)
	if err != nil {
		return tree.Input{}, err
	}
	word := inherit
	if r != nil {
		word = r.String()
	}
	return tree.Input{Command: tree.CmdMode, Node: req.Node, Mode: r, Reason: because("mode "+word, req.Reason)}, nil
}

// rollout reads what a request asks for; nil takes a setting back.
func rollout(req contracts.ModeRequest) (*tree.Rollout, error) {
	bad := func(format string, args ...any) (*tree.Rollout, error) {
		return nil, shell.Errorf(contracts.CodeBadRequest, format, args...)
	}
	if req.Mode != string(tree.Enforce) && (req.Percent != 0 || req.Otherwise != "") {
		return bad("percent and otherwise: only with mode enforce, and it is %.32q", req.Mode)
	}
	switch req.Mode {
	case inherit:
		return nil, nil
	case string(tree.Off), string(tree.Shadow):
		r := tree.RolloutOf(tree.Mode(req.Mode))
		return &r, nil
	case string(tree.Enforce):
	default:
		return bad("mode: %.32q; use off, shadow, enforce or inherit", req.Mode)
	}
	r := tree.RolloutOf(tree.Enforce)
	switch {
	case req.Percent < 0 || req.Percent > 100:
		return bad("percent: %d is outside 1 to 100; mode %s enforces none", req.Percent, tree.Shadow)
	case req.Percent > 0 && req.Percent < 100:
		r.Enforce, r.Otherwise = req.Percent, tree.Shadow
	}
	if req.Otherwise != "" {
		if r.Enforce == 100 {
			return bad("otherwise: nobody is left with 100 percent; give a smaller percent or leave it out")
		}
		r.Otherwise = tree.Mode(req.Otherwise)
	}
	if err := r.Validate(); err != nil {
		return bad("%v", err)
	}
	return &r, nil
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + contracts.Clip(reason, maxReason)
}

// maxOperator bounds each part of what the sender of an order says of itself.
const maxOperator = 64

// operator reads who ordered something; nil when the sender does not say.
func operator(by *contracts.Operator) *tree.Operator {
	if by == nil || *by == (contracts.Operator{}) {
		return nil
	}
	clip := func(s string) string { return contracts.Clip(s, maxOperator) }
	return &tree.Operator{User: clip(by.User), Host: clip(by.Host), Program: clip(by.Program)}
}
