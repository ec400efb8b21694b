package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type eventsCmd struct {
	Query       eventsQueryCmd       `cmd:"" help:"List events by time, type, source, entity and story."`
	Get         eventsGetCmd         `cmd:"" help:"Show one event."`
	Correlation eventsCorrelationCmd `cmd:"" help:"List the events of one story, such as a task's or a failure's."`
	Replay      eventsReplayCmd      `cmd:"" help:"Print past events again, at once or in their own time."`
}

// filterFlags select events.
type filterFlags struct {
	From        *moment  `placeholder:"TIME" help:"From this time on: RFC 3339, or a duration ago such as 10m."`
	To          *moment  `placeholder:"TIME" help:"Up to this time."`
	Type        []string `placeholder:"TYPE" help:"Of these types, such as agent.failed."`
	Source      []string `placeholder:"SOURCE" help:"From these sources."`
	Entity      string   `placeholder:"ID" help:"About this agent, tree, service or task type."`
	Correlation []string `placeholder:"ID" help:"Of these stories."`
}

func (f filterFlags) filter() (contracts.EventFilter, error) {
	out := contracts.EventFilter{
		From: f.From.ptr(), To: f.To.ptr(), Sources: f.Source, Entity: f.Entity, Correlations: f.Correlation,
	}
	for _, s := range f.Type {
		t, err := contracts.ParseEventType(s)
		if err != nil {
			return out, fmt.Errorf("%w: --type: %w", errUsage, err)
		}
		out.Types = append(out.Types, t)
	}
	return out, nil
}

type eventsQueryCmd struct {
	clientFlags
	filterFlags `group:"Filter"`
	Limit       int  `default:"100" help:"At most this many."`
	Last        bool `help:"The newest instead of the oldest."`
}

func (eventsQueryCmd) Help() string {
	return "Examples:\n  smith events query --from 10m --type agent.failed\n  smith events query --entity crawler-1 --last --limit 20 --json"
}

// pageSize is what is asked for at a time: the most that is answered.
const pageSize = 1000

func (c *eventsQueryCmd) Run(a *app) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	if c.Last && c.Limit > pageSize {
		return usagef("--last gives at most %d events; narrow --from and --to instead", pageSize)
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	req := contracts.QueryRequest{EventFilter: filter, Last: c.Last}
	left := c.Limit
	return c.pages(a, func(cursor uint64) (contracts.EventsReply, error) {
		req.Cursor, req.Limit = cursor, min(left, pageSize)
		if left == 0 {
			return contracts.EventsReply{}, nil
		}
		page, err := askOn[contracts.EventsReply](a, c.clientFlags, nc, contracts.ServiceEventStore, "query", req)
		left -= len(page.Events)
		return page, err
	})
}

// pages prints pages until there are no more.
func (f clientFlags) pages(a *app, page func(cursor uint64) (contracts.EventsReply, error)) error {
	for cursor := uint64(0); ; {
		p, err := page(cursor)
		if err != nil {
			return err
		}
		for _, stored := range p.Events {
			if err := f.printEvent(a, stored); err != nil {
				return err
			}
		}
		if p.Next == 0 { // an empty page may have a next: the search took long
			return nil
		}
		cursor = p.Next
	}
}

func (f clientFlags) printEvent(a *app, s contracts.StoredEvent) error {
	if f.JSON {
		return a.printLine(s)
	}
	_, err := fmt.Fprintf(a.stdout, "%8d  %s\n", s.Sequence, describe.Line(s.Event, time.Now()))
	return err
}

type eventsGetCmd struct {
	clientFlags
	ID string `arg:"" help:"Id of the event."`
}

func (eventsGetCmd) Help() string {
	return "Prints JSON, with or without --json.\n\nExample:\n  smith events get 0199d2a4-7c11-7b2e-8a55-0d2f6a1c9e02"
}

func (c *eventsGetCmd) Run(a *app) error {
	stored, err := ask[contracts.StoredEvent](a, c.clientFlags, contracts.ServiceEventStore, "get", contracts.EventRequest{ID: c.ID})
	if err != nil {
		return err
	}
	return a.printJSON(stored)
}

type eventsCorrelationCmd struct {
	clientFlags
	ID string `arg:"" help:"Correlation id: a task's id, or the id of the first failure."`
}

func (eventsCorrelationCmd) Help() string {
	return "Examples:\n  smith events correlation task-1\n  smith events correlation 0199d2a4-7c11-7b2e-8a55-0d2f6a1c9e02 --json"
}

func (c *eventsCorrelationCmd) Run(a *app) error {
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	return c.pages(a, func(cursor uint64) (contracts.EventsReply, error) {
		return askOn[contracts.EventsReply](a, c.clientFlags, nc, contracts.ServiceEventStore, "correlation",
			contracts.CorrelationRequest{ID: c.ID, Cursor: cursor, Limit: pageSize})
	})
}

type eventsReplayCmd struct {
	clientFlags
	filterFlags `group:"Filter"`
	Speed       float64 `help:"Pace against the original: 1 as it was, 10 ten times as fast, 0 at once."`
	Limit       int     `help:"At most this many."`
}

func (eventsReplayCmd) Help() string {
	return "Examples:\n  smith events replay --from 5m --speed 10\n  smith events replay --from 1h --type agent.failed --json"
}

func (c *eventsReplayCmd) Run(a *app) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	body, err := json.Marshal(contracts.ReplayRequest{EventFilter: filter, Speed: c.Speed, Limit: c.Limit})
	if err != nil {
		return err
	}
	if err := nc.PublishRequest(contracts.ServiceSubject(contracts.ServiceEventStore, "replay"), inbox, body); err != nil {
		return err
	}
	return c.receive(a, nc, sub)
}

// patience is how long a replay may say nothing. The store gives a sign of
// life every 10 s while no event is due.
const patience = 30 * time.Second

// receive prints replayed events until the end mark.
func (c *eventsReplayCmd) receive(a *app, nc *nats.Conn, sub *nats.Subscription) error {
	next := func(within time.Duration) (*nats.Msg, error) {
		ctx, cancel := context.WithTimeout(a.ctx, within)
		defer cancel()
		return sub.NextMsgWithContext(ctx)
	}
	within := c.Timeout
	for {
		msg, err := next(within)
		if a.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("replay: nothing came for %s: %w; is the event store running?", within, err)
		}
		within = max(c.Timeout, patience)
		done, err := c.received(a, nc, msg)
		if done || err != nil {
			return err
		}
	}
}

func (c *eventsReplayCmd) received(a *app, nc *nats.Conn, msg *nats.Msg) (done bool, err error) {
	switch {
	case msg.Header.Get("Status") == "503":
		return true, errors.New("nobody replays; is the event store running?")
	case msg.Header.Get(contracts.HeaderError) != "":
		return true, errors.New(msg.Header.Get(contracts.HeaderError))
	case msg.Header.Get(micro.ErrorHeader) != "":
		return true, asUsage(&shell.APIError{Code: msg.Header.Get(micro.ErrorCodeHeader), Message: msg.Header.Get(micro.ErrorHeader)})
	case msg.Header.Get(contracts.HeaderEnd) != "":
		if !c.JSON {
			fmt.Fprintf(a.stdout, "%s events\n", msg.Header.Get(contracts.HeaderEnd))
		}
		return true, nil
	case msg.Header.Get(contracts.HeaderIdle) != "": // the next event is not due yet
		return false, nil
	}
	ev, err := contracts.DecodeEvent("", msg.Data)
	if err != nil {
		return true, err
	}
	if flow := msg.Header.Get(contracts.HeaderFlow); flow != "" {
		if err := nc.Publish(flow, nil); err != nil {
			return true, err
		}
	}
	var seq uint64
	_, _ = fmt.Sscan(msg.Header.Get(contracts.HeaderSequence), &seq)
	return false, c.printEvent(a, contracts.StoredEvent{Sequence: seq, Event: ev})
}

type watchCmd struct {
	clientFlags
	All  bool     `help:"Every event, not only failures, decisions and recoveries."`
	Type []string `placeholder:"TYPE" help:"Only these types."`
}

func (watchCmd) Help() string {
	return "Examples:\n  smith watch\n  smith watch --type agent.failed --json"
}

func (c *watchCmd) Run(a *app) error {
	subjects, err := c.subjects()
	if err != nil {
		return err
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	messages := make(chan *nats.Msg, 4096)
	for _, s := range subjects {
		if _, err := nc.ChanSubscribe(s, messages); err != nil {
			return fmt.Errorf("watch %s: %w", s, err)
		}
	}
	if err := nc.FlushTimeout(c.Timeout); err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "watching", strings.Join(subjects, " "), "(Ctrl-C ends)")
	for {
		select {
		case <-a.ctx.Done():
			return nil
		case msg := <-messages:
			ev, err := contracts.DecodeEvent(msg.Subject, msg.Data)
			if err != nil {
				fmt.Fprintln(a.stderr, "smith:", err)
				continue
			}
			if err := c.show(a, ev); err != nil {
				return err
			}
		}
	}
}

func (c *watchCmd) show(a *app, ev contracts.Event) error {
	if c.JSON {
		return a.printLine(ev)
	}
	_, err := fmt.Fprintln(a.stdout, describe.Line(ev, time.Now()))
	return err
}

func (c *watchCmd) subjects() ([]string, error) {
	if c.All {
		return []string{contracts.EventWildcard}, nil
	}
	types := []contracts.EventType{
		contracts.AgentFailed, contracts.AgentRecovered, contracts.AgentStarted, contracts.AgentStopped,
		contracts.TreeProposed, contracts.TreeDecided, contracts.TreeRollingStopped, contracts.TreeIsolated, contracts.TreeEscalated, contracts.TreeGaveUp,
		contracts.AgentConflict, contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver,
		contracts.SystemHealthCheckFailed, contracts.SystemBreakerOpen, contracts.SystemBreakerClosed, contracts.SystemMessageRejected,
		contracts.TaskDeadLettered,
	}
	if len(c.Type) > 0 {
		types = nil
		for _, s := range c.Type {
			t, err := contracts.ParseEventType(s)
			if err != nil {
				return nil, fmt.Errorf("%w: --type: %w", errUsage, err)
			}
			types = append(types, t)
		}
	}
	subjects := make([]string, len(types))
	for i, t := range types {
		subjects[i] = contracts.EventTypeWildcard(t)
	}
	return subjects, nil
}
