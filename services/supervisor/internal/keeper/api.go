package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/lease"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// answerWithin bounds how long an order is waited for before its caller is told
// that it is under way.
const answerWithin = 20 * time.Second

// Serve opens the API; it answers while the keeper runs.
func (k *Keeper) Serve(ctx context.Context) (*shell.API, error) {
	api, err := shell.NewAPI(ctx, k.env, "decides what is started and stopped in the supervision tree", map[string]string{"tree": k.opt.Tree}, shell.Everyone)
	if err != nil {
		return nil, err
	}
	for _, err := range []error{
		shell.Handle(api, "tree", k.serveTree),
		shell.Handle(api, "status", k.serveStatus),
		shell.Handle(api, "runners", k.serveRunners),
		shell.Handle(api, "why", k.serveWhy),
		shell.Handle(api, "add", k.add),
		serveOrder(k, api, "scale", scaleOrder),
		serveOrder(k, api, "move", moveOrder),
		serveOrder(k, api, "mode", modeOrder),
		serveOrder(k, api, "remove", nodeOrder(tree.CmdRemove)),
		serveOrder(k, api, "restart", nodeOrder(tree.CmdRestart)),
		shell.Handle(api, "terminate", k.orOrphan(orderHandler(k, nodeOrder(tree.CmdTerminate)))),
		serveOrder(k, api, "suspend", nodeOrder(tree.CmdSuspend)),
		serveOrder(k, api, "resume", nodeOrder(tree.CmdResume)),
		serveOrder(k, api, "drain", drainOrder),
		shell.Handle(api, "plan", k.Plan),
		shell.Handle(api, "apply", k.Apply),
		shell.Handle(api, "roll", k.roll),
		shell.Handle(api, "rolling", k.rolling),
		shell.Handle(api, "rebalance", k.rebalance),
		k.opt.Serve(api),
	} {
		if err != nil {
			// The error is what matters, and whoever has asked already is not
			// answered: the loop does not run yet.
			ended, cancel := context.WithCancel(ctx)
			cancel()
			_ = api.Stop(ended)
			return nil, err
		}
	}
	return api, nil
}

// request is a request for an order.
type request[Req any] interface {
	*Req
	Order() *contracts.OrderOptions
}

// serveOrder serves a verb whose requests are orders to the tree.
func serveOrder[Req any, P request[Req]](k *Keeper, api *shell.API, verb string, read func(Req) (tree.Input, error)) error {
	return shell.Handle(api, verb, orderHandler[Req, P](k, read))
}

// orderHandler has orders to the tree decided.
func orderHandler[Req any, P request[Req]](k *Keeper, read func(Req) (tree.Input, error)) func(context.Context, Req) (contracts.OrderReply, error) {
	return func(ctx context.Context, req Req) (contracts.OrderReply, error) {
		options := P(&req).Order()
		ctx, cancel, err := patience(ctx, *options)
		if err != nil {
			return contracts.OrderReply{}, err
		}
		defer cancel()
		in, err := read(req)
		if err != nil {
			return contracts.OrderReply{}, err
		}
		in.Token, in.By = options.Token, operator(options.By)
		return k.order(ctx, in)
	}
}

// patience bounds how long an order is waited for, as its caller asks.
func patience(ctx context.Context, o contracts.OrderOptions) (context.Context, context.CancelFunc, error) {
	if o.Token != "" {
		if err := validID("token", o.Token); err != nil {
			return nil, nil, err
		}
	}
	wait := cmp.Or(o.Wait.D(), answerWithin)
	if wait < 0 || wait > answerWithin {
		return nil, nil, shell.Errorf(contracts.CodeBadRequest, "wait: %s is outside 0s to %s; ask again with the token to wait longer", wait, answerWithin)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	return ctx, cancel, nil
}

// ask runs f in the keeper's loop, between two decisions.
func (k *Keeper) ask(ctx context.Context, f func()) error {
	if err := k.confirm(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	query := func() { f(); close(done) }
	select {
	case k.queries <- query:
		<-done
		return nil
	case <-time.After(lookEvery):
	case <-ctx.Done():
		return k.busy()
	}
	ctx, cancel := k.unimpeded(ctx)
	defer cancel()
	select {
	case k.queries <- query:
		<-done
		return nil
	case <-ctx.Done():
		return impediment(ctx, k.busy())
	}
}

// busy says that the loop did not take something in time.
func (k *Keeper) busy() error {
	if err := k.impeded(); err != nil {
		return err
	}
	return shell.Errorf(contracts.CodeNotReady, "the supervisor of tree %s is busy or cannot reach its log; try again", k.opt.Tree)
}

// confirm makes sure that decisions can be stored, and that no successor has taken over
// while this process stood still: what it says would be old.
func (k *Keeper) confirm(ctx context.Context) error {
	if err := k.impeded(); err != nil {
		return err
	}
	atOnce, over := context.WithCancel(ctx)
	over()
	if k.opt.Term.Confirm(atOnce) == nil { // as in ordinary times
		return nil
	}
	ctx, cancel := k.unimpeded(ctx)
	defer cancel()
	err := k.opt.Term.Confirm(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, lease.ErrLost):
		return shell.Errorf(contracts.CodeNotReady, "supervisor %s no longer decides about tree %s; try again", k.env.Instance, k.opt.Tree)
	}
	return impediment(ctx, shell.Errorf(contracts.CodeNotReady, "supervisor %s does not know whether it still decides about tree %s: it cannot renew its lease; try again", k.env.Instance, k.opt.Tree))
}

// order has an operator's command decided and waits for its result until ctx
// ends. A command whose token is known is not decided again.
func (k *Keeper) order(ctx context.Context, in tree.Input) (contracts.OrderReply, error) {
	none := contracts.OrderReply{}
	in.Kind = tree.Order
	who, err := k.hand(ctx, &in)
	if err != nil {
		return none, err
	}
	select {
	case a := <-who.reply:
		return verdict(in, a)
	case <-ctx.Done():
	}
	if !who.decided.Load() {
		why := fmt.Sprintf("supervisor %s ends or cannot reach its log", k.env.Instance)
		if err := k.impeded(); err != nil {
			why = err.Error()
		}
		return none, shell.Errorf(contracts.CodeNotReady, "%s of %s: it is not known whether it was decided upon; look at the tree before you try again: %s", in.Command, in.Node, why)
	}
	select {
	case a := <-who.reply:
		return verdict(in, a)
	default:
	}
	reply := contracts.OrderReply{OK: true, UnderWay: true, Token: in.Token, Warning: fmt.Sprintf("%s of %s is under way", in.Command, in.Node)}
	if errors.Is(ctx.Err(), context.Canceled) {
		reply.Warning += "; supervisor " + k.env.Instance + " ends before it is done"
		return reply, nil
	}
	now, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// A loop that is busy tells nothing of it, which is no fault of the order.
	_ = k.ask(now, func() {
		reply.Left, reply.Awaits = k.left(in)
		if v, ok := k.view(in.Node, false); ok {
			reply.Status = v.Status
		}
	})
	return reply, nil
}

// hand gives the loop an order, or a configuration, whose sender waits for the
// answer. An order about no node is about the root.
func (k *Keeper) hand(ctx context.Context, in *tree.Input) (*caller, error) {
	if in.Kind == tree.Order && in.Node == "" {
		if err := k.ask(ctx, func() { in.Node = k.tree.Root() }); err != nil {
			return nil, err
		}
	}
	if err := k.confirm(ctx); err != nil {
		return nil, err
	}
	in.Token = cmp.Or(in.Token, newID())
	in.Event, in.Chain = "", in.Token
	who := &caller{reply: make(chan answer, 1)}
	select {
	case k.inbox <- arrival{Input: *in, from: who}:
		return who, nil
	case <-ctx.Done():
		return nil, k.busy()
	}
}

// caller waits for the result of an order.
type caller struct {
	reply chan answer
	// decided is set once what was decided upon the order is in the log; when
	// it is refused or over by then, the reply is there before.
	decided atomic.Bool
}

// answer is the result of an order.
type answer struct {
	result tree.Result
	reason string
}

// await remembers who waits for an order's result.
func (k *Keeper) await(a arrival) {
	if len(k.waiting) >= maxWaiting {
		// Callers that have given up leave their place behind.
		clear(k.waiting)
	}
	k.waiting[a.Token] = a.from
}

// answer tells those who wait what became of their orders.
func (k *Keeper) answer(b *leader.Batch) {
	for _, in := range b.Consumed {
		if who := k.waiting[in.Token]; in.Kind == tree.Order && who != nil {
			who.decided.Store(true)
		}
	}
	for _, e := range b.Effects {
		if who := k.waiting[e.Token]; e.Kind == tree.DoReply && who != nil {
			delete(k.waiting, e.Token)
			who.reply <- answer{e.Result, e.Reason}
		}
	}
}

// verdict turns a result into an answer for the operator.
func verdict(in tree.Input, a answer) (contracts.OrderReply, error) {
	no := func(code, format string, args ...any) (contracts.OrderReply, error) {
		return contracts.OrderReply{}, shell.Errorf(code, format, args...)
	}
	switch a.result {
	case tree.OK:
		reply := contracts.OrderReply{OK: true, Token: in.Token}
		if in.Command == tree.CmdScale {
			reply.Warning = a.reason
		}
		return reply, nil
	case tree.NotFound:
		switch in.Command {
		case tree.CmdAdd:
			return no(contracts.CodeNotFound, "parent: %s", a.reason)
		case tree.CmdScale:
			return no(contracts.CodeNotFound, "the tree has no template %s; templates are agents that the configuration gives a count", in.Node)
		}
		return no(contracts.CodeNotFound, "the tree has no node %s", in.Node)
	case tree.Invalid:
		return no(contracts.CodeBadRequest, "%s of %s: %s", in.Command, in.Node, a.reason)
	case tree.AlreadyStarted:
		return no(contracts.CodeConflict, "%s is already there and runs; choose another name", in.Node)
	case tree.AlreadyPresent:
		if in.Command == tree.CmdScale {
			return no(contracts.CodeConflict, "scale of %s: %s; remove it first", in.Node, a.reason)
		}
		return no(contracts.CodeConflict, "%s is already there, though it does not run; restart or remove it", in.Node)
	case tree.CannotStart:
		return no(contracts.CodeConflict, "%s of %s: %s%s", in.Command, in.Node, a.reason, takenBack(in))
	case tree.NoSupervisor, tree.Busy, tree.NotEnforced:
		code := contracts.CodeConflict
		if in.Command == tree.CmdMove && a.result == tree.NoSupervisor {
			code = contracts.CodeNotFound
		}
		return no(code, "%s of %s: %s", in.Command, in.Node, a.reason)
	case tree.Superseded:
		return no(contracts.CodeConflict, "%s of %s was superseded by %s", in.Command, in.Node, a.reason)
	case tree.NotVerified:
		return no(contracts.CodeConflict, "%s of %s: it was carried out, but %s%s", in.Command, in.Node, a.reason, takenBack(in))
	}
	return no(contracts.CodeConflict, "%s is %s", in.Node, a.result)
}

// takenBack says that an agent whose addition failed is not in the tree.
func takenBack(in tree.Input) string {
	if in.Command == tree.CmdAdd {
		return "; it is removed again"
	}
	return ""
}

func (k *Keeper) serveTree(ctx context.Context, req contracts.TreeRequest) (contracts.TreeReply, error) {
	if !req.Moment.IsZero() {
		return k.opt.Past(ctx, req)
	}
	var reply contracts.TreeReply
	found := false
	err := k.ask(ctx, func() {
		reply = contracts.TreeReply{
			Tree: k.opt.Tree, Supervisor: k.env.Instance, Decision: k.journal.Number(),
			Sequence: k.journal.Sequence(), Runners: k.runnerViews(), Orphans: k.orphans.all(),
		}
		reply.Root, found = k.view(cmp.Or(req.Node, k.tree.Root()), true)
		reply.Rolling = rollingOf(k.tree, "")
	})
	if why := k.impeded(); err != nil && why != nil {
		return k.stored(ctx, req, why)
	}
	if err == nil && !found {
		err = shell.Errorf(contracts.CodeNotFound, "tree %s has no node %.80q", k.opt.Tree, req.Node)
	}
	return reply, err
}

func (k *Keeper) serveRunners(ctx context.Context, _ struct{}) (contracts.RunnersReply, error) {
	reply := contracts.RunnersReply{Tree: k.opt.Tree, Supervisor: k.env.Instance}
	err := k.ask(ctx, func() { reply.Runners = k.runnerViews() })
	return reply, err
}

func (k *Keeper) serveStatus(ctx context.Context, req contracts.NodeRequest) (contracts.NodeView, error) {
	var v contracts.NodeView
	found := false
	err := k.ask(ctx, func() { v, found = k.view(req.Node, false) })
	if err == nil && !found {
		err = shell.Errorf(contracts.CodeNotFound, "tree %s has no node %.80q", k.opt.Tree, req.Node)
	}
	return v, err
}

// Close waits for what is under way to end, after the end of the context
// that the keeper was opened with.
func (k *Keeper) Close() {
	k.visits.Wait()
	k.commands.Wait()
	k.environs.Close()
	k.saving.Wait()
}
