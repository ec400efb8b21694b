package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const (
	// firstPoll is short, so that it is known soon that the order is under way;
	// later polls wait in the supervisor.
	firstPoll = 200 * time.Millisecond
	nextPoll  = 2 * time.Second
	// silentFor is how long nobody may answer about an order that is under way.
	silentFor = time.Minute
)

// orderRequest is a request to change something, such as a [contracts.NodeRequest].
type orderRequest interface {
	Order() *contracts.OrderOptions
}

// change orders something of the supervisor and waits until it is done.
func (f clientFlags) change(a *app, verb string, req orderRequest) error {
	return f.changeNode(a, verb, "", req)
}

// changeNode is change for what is known by a node's name.
func (f clientFlags) changeNode(a *app, verb, node string, req orderRequest) error {
	nc, err := f.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	o := order{
		nc: nc, flags: f, verb: verb, req: req, what: strings.TrimSpace(verb + " " + node),
		shows: newProgress(a, f.JSON), begin: time.Now(),
	}
	reply, err := o.await(a.ctx)
	o.shows.close()
	if err != nil {
		return asUsage(err)
	}
	if f.JSON {
		return a.printJSON(reply)
	}
	if reply.Warning != "" {
		fmt.Fprintf(a.stderr, "smith: warning: %s; smith tree --problems tells more\n", shell.OneLine(reply.Warning))
	}
	_, err = fmt.Fprintln(a.stdout, o.what+": done")
	return err
}

// order is one order to the supervisor, from its first request to its end.
type order struct {
	nc    *nats.Conn
	flags clientFlags
	req   orderRequest
	// verb is the endpoint, what the order in words.
	verb, what string
	shows      *progress
	begin      time.Time
	// accepted is set once the supervisor has said that it is under way, heard is
	// when it last did.
	accepted bool
	heard    time.Time
}

// await sends the order, and sends it again with the same token until it is done. A
// supervisor that takes over knows the token, and answers too.
func (o *order) await(ctx context.Context) (contracts.OrderReply, error) {
	options := o.req.Order()
	options.Token, options.Wait, options.By = uuid.NewString(), contracts.Duration(firstPoll), operator()
	for {
		reply, err := o.ask(ctx)
		switch {
		case err == nil && !reply.UnderWay:
			return reply, nil
		case err == nil:
			o.accepted, o.heard = true, time.Now()
			o.shows.set(o.progressOf(reply))
		case ctx.Err() != nil:
			return reply, o.interrupted()
		case !o.again(err):
			return reply, err
		default:
			o.shows.set(o.what + ": no supervisor answers now")
			if err := shell.Pause(ctx, askAgain); err != nil {
				return reply, o.interrupted()
			}
		}
		options.Wait = contracts.Duration(min(nextPoll, o.flags.Timeout/2))
	}
}

func (o *order) ask(ctx context.Context) (contracts.OrderReply, error) {
	// A supervisor answers after the wait that it is asked for. One that was killed
	// never does, so its successor is asked soon.
	ctx, cancel := context.WithTimeout(ctx, o.req.Order().Wait.D()+o.flags.Timeout/4)
	defer cancel()
	return shell.Call[contracts.OrderReply](ctx, o.nc, contracts.ServiceSubject(contracts.ServiceSupervisor, o.verb), o.req)
}

// again reports whether to ask again after an error. Of an order that was not
// accepted, nobody may know yet; one that was goes on without its caller.
func (o *order) again(err error) bool {
	var refused *shell.APIError
	if errors.As(err, &refused) && refused.Code != contracts.CodeNotReady {
		return false
	}
	if o.accepted {
		return time.Since(o.heard) < silentFor
	}
	v := vacancy{begin: o.begin, bound: o.flags.Timeout}
	return v.passes(err) || !errors.Is(err, nats.ErrNoResponders) && time.Since(o.begin) < o.flags.Timeout
}

// interrupted says what becomes of the order when its caller stops to wait.
func (o *order) interrupted() error {
	if !o.accepted {
		return fmt.Errorf("%s: interrupted before the supervisor had answered; look with smith tree whether it was decided", o.what)
	}
	return fmt.Errorf("%s: interrupted; it is under way and goes on; look with smith tree", o.what)
}

func (o *order) progressOf(r contracts.OrderReply) string {
	s := o.what + ": under way"
	if r.Left == 1 && r.Awaits != "" {
		return s + ", " + shell.OneLine(r.Awaits)
	}
	if r.Left > 0 {
		s += fmt.Sprintf(", waiting for %s", plural(r.Left, "agent"))
	}
	switch {
	case r.Awaits != "":
		s += ": " + shell.OneLine(r.Awaits)
	case r.Status != "":
		s += ", " + string(r.Status)
	}
	return s
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
