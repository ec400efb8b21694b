package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type whyCmd struct {
	clientFlags
	Name string `arg:"" help:"The agent, supervisor node or task."`
}

func (whyCmd) Help() string {
	return "Says what the agent, supervisor node or task is doing, what it waits for or why it is down, and what led to it: the causal chain, oldest first.\n\n" +
		"Examples:\n  smith why crawler-1\n  smith why research\n  smith why task-1 --json"
}

func (c *whyCmd) Run(a *app) error {
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	answer, err := c.ask(a, nc)
	if err != nil {
		return err
	}
	c.addOutput(a, nc, &answer)
	if c.JSON {
		return a.printJSON(answer)
	}
	return describe.Why(a.stdout, answer, time.Now())
}

// ask asks the supervisor for the state and the event store for what led to it.
// A name that the supervisor does not know may be a task, or an agent that was
// removed. Without a supervisor there is only the past.
func (c *whyCmd) ask(a *app, nc *nats.Conn) (describe.Answer, error) {
	now, err := askOn[contracts.Diagnosis](a, c.clientFlags, nc, contracts.ServiceSupervisor, "why", contracts.NodeRequest{Node: c.Name})
	switch {
	case err == nil:
		return c.node(a, nc, now), nil
	case errors.Is(err, errUsage):
		return describe.Answer{}, err
	}
	known := notFound(err)
	if task, taskErr := c.task(a, nc); taskErr == nil {
		return task, nil
	}
	past, pastErr := askOn[contracts.WhyReply](a, c.clientFlags, nc, contracts.ServiceEventStore, "why", contracts.WhyRequest{Agent: c.Name})
	switch {
	case pastErr == nil && known:
		return describe.Answer{WhyReply: past, Notes: []string{"it is not in the tree; this is what the log remembers"}}, nil
	case pastErr == nil:
		return describe.Answer{WhyReply: past, Notes: []string{"no supervisor answers, so its state is not known (" + err.Error() + "); this is what the log remembers"}}, nil
	case known && notFound(pastErr):
		return describe.Answer{}, fmt.Errorf("%w; nor is there a task %s", err, c.Name)
	}
	return describe.Answer{}, errors.Join(err, pastErr)
}

func notFound(err error) bool {
	var refused *shell.APIError
	return errors.As(err, &refused) && refused.Code == contracts.CodeNotFound
}

// node adds to a node's state what led to it.
func (c *whyCmd) node(a *app, nc *nats.Conn, now contracts.Diagnosis) describe.Answer {
	past, err := askOn[contracts.WhyReply](a, c.clientFlags, nc, contracts.ServiceEventStore, "why", contracts.WhyRequest{
		Agent: c.Name, Tree: now.Tree, Incarnation: now.Node.Incarnation, Up: now.State == contracts.StateRunning,
		Cause: now.Cause, Chain: now.Chain, Decision: now.Decision, Since: now.Since,
	})
	answer := describe.Answer{WhyReply: past, Now: &now}
	c.addReport(a, nc, &answer)
	switch {
	case notFound(err):
		answer.WhyReply = contracts.WhyReply{Agent: c.Name, Chain: []contracts.WhyLink{}, Note: "nothing is stored about what led to it"}
		if len(now.Orders) > 0 {
			answer.Note = "nothing else is stored about what led to it"
		}
	case err != nil:
		answer.WhyReply = contracts.WhyReply{Agent: c.Name, Chain: []contracts.WhyLink{}}
		answer.Notes = append(answer.Notes, "what led to it is not known: "+err.Error())
	}
	return answer
}

// addReport adds whether the agent reports itself degraded, and why.
func (c *whyCmd) addReport(a *app, nc *nats.Conn, answer *describe.Answer) {
	node := &answer.Now.Node
	if node.Kind != "agent" {
		return
	}
	view, err := askOn[contracts.AgentView](a, c.briefly(), nc, contracts.ServiceDetector, "status", contracts.AgentRequest{Agent: c.Name})
	switch {
	case err == nil && degraded(*node, view):
		node.Degraded, answer.Detail = true, c.detail(a, nc, *node)
	case err != nil && !notFound(err) && answer.Now.State == contracts.StateRunning:
		answer.Notes = append(answer.Notes, "whether it reports itself degraded is not known: "+err.Error())
	}
}

// task asks the router for a task, and the event store for its story.
func (c *whyCmd) task(a *app, nc *nats.Conn) (describe.Answer, error) {
	task, err := askOn[contracts.TaskView](a, c.clientFlags, nc, contracts.ServiceRouter, "status", contracts.TaskRequest{Task: c.Name})
	if err != nil {
		return describe.Answer{}, err
	}
	answer := describe.Answer{WhyReply: contracts.WhyReply{Agent: c.Name, Chain: []contracts.WhyLink{}, Complete: true}, Task: &task}
	if task.Status == "queued" {
		answer.Notes = append(answer.Notes, c.queue(a, nc, task.Type)...)
	}
	story, err := askOn[contracts.EventsReply](a, c.clientFlags, nc, contracts.ServiceEventStore, "correlation", contracts.CorrelationRequest{ID: c.Name, Limit: pageSize})
	if err != nil {
		answer.Notes = append(answer.Notes, "what led to it is not known: "+err.Error())
		return answer, nil
	}
	for _, e := range story.Events {
		answer.Chain = append(answer.Chain, describe.Link(e))
	}
	answer.Complete = len(answer.Chain) > 0
	return answer, nil
}

// queue says what a queued task waits for.
func (c *whyCmd) queue(a *app, nc *nats.Conn, taskType string) []string {
	view, err := askOn[contracts.RouterView](a, c.clientFlags, nc, contracts.ServiceRouter, "agents", struct{}{})
	if err != nil {
		return []string{"what it waits for is not known: " + err.Error()}
	}
	for _, t := range view.Types {
		switch {
		case t.Type != taskType:
		case t.Able == 0:
			return []string{"no agent that is available can do tasks of type " + taskType}
		default:
			return []string{fmt.Sprintf("%d tasks of type %s are queued and %d are assigned to the %d agents that can do them", t.Queued, taskType, t.Assigned, t.Able)}
		}
	}
	return nil
}
