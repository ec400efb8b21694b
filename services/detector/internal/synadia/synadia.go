// Package synadia understands the heartbeats of the Synadia Agent Protocol for
// NATS, version 0.3 (https://github.com/synadia-ai/nats-agent-sdk-docs, section
// 8), so that agents which speak it are watched as they are.
//
// They come on agents.hb.<agent>.<owner>.<name> with a JSON body:
//
//	{"agent":"claude-code","owner":"acme","session":"s","instance_id":"VMKS6MHK71PC",
//	 "ts":"2026-04-21T14:23:01Z","interval_s":30}
//
// The last three tokens of the subject name the agent; a configured template
// makes one id of them. The instance_id names the process: another one is
// another life of the agent. A template with {instance} makes an agent of every
// instance instead, for those who run several under one name.
//
// Everything here is pure: a subject and a body in, a heartbeat or the reason
// why it is none out.
package synadia

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Defaults of a Mapping: the protocol's subject, and an id out of all of it.
const (
	DefaultSubject = "agents.hb.*.*.*"
	DefaultID      = "{agent}-{owner}-{name}"
)

// maxInstance bounds an instance_id, of which two are kept for each agent.
const maxInstance = 128

// named is how many tokens at the end of a subject name the agent.
const named = 3

// ErrSubject tells that a subject cannot be listened to for heartbeats.
var ErrSubject = errors.New("invalid subject of heartbeats")

// Heartbeat is one heartbeat in the detector's terms.
type Heartbeat struct {
	// Agent is the id that the template makes.
	Agent string
	// Type is what kind of agent it says it is; empty when that is no id.
	Type string
	// Instance names the process; empty when the id already does.
	Instance string
	Interval time.Duration
}

// Mapping turns messages into heartbeats.
type Mapping struct {
	subject string
	id      contracts.IDTemplate
}

// New makes a mapping of what comes on a subject: one whose last three tokens
// are agent, owner and name or wildcards for them. In the template {agent},
// {owner}, {name} and {instance} stand for what the message says. Empty
// arguments are the defaults.
func New(subject, id string) (*Mapping, error) {
	if subject == "" {
		subject = DefaultSubject
	}
	if id == "" {
		id = DefaultID
	}
	tokens := strings.Split(subject, ".")
	if len(tokens) < named {
		return nil, fmt.Errorf("%w: %q: its last three tokens must be agent, owner and name, or * for each", ErrSubject, subject)
	}
	for _, t := range tokens {
		if t == "" || strings.ContainsAny(t, "> \t\r\n") || t != "*" && strings.Contains(t, "*") {
			return nil, fmt.Errorf("%w: %q: %q cannot be a token here", ErrSubject, subject, t)
		}
	}
	template, err := contracts.ParseIDTemplate(id, "agent", "owner", "name", "instance")
	if err != nil {
		return nil, err
	}
	return &Mapping{subject, template}, nil
}

// Subject is what to subscribe to.
func (m *Mapping) Subject() string { return m.subject }

// body is what an agent sends. Unknown fields are tolerated, as the protocol
// asks; fields that it requires are required.
type body struct {
	Agent    *string  `json:"agent"`
	Owner    *string  `json:"owner"`
	Instance *string  `json:"instance_id"`
	Time     *string  `json:"ts"`
	Interval *float64 `json:"interval_s"`
}

// Decode reads one message. Errors wrap contracts.ErrHeartbeat.
func (m *Mapping) Decode(subject string, data []byte) (Heartbeat, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) < named {
		return Heartbeat{}, fmt.Errorf("%w: subject: expected %s", contracts.ErrHeartbeat, m.subject)
	}
	b, err := decode(data)
	if err != nil {
		return Heartbeat{}, fmt.Errorf("%w: %w", contracts.ErrHeartbeat, err)
	}
	words := map[string]string{"instance": *b.Instance}
	for i, name := range []string{"agent", "owner", "name"} {
		words[name] = tokens[len(tokens)-named+i]
	}
	id, err := m.id.ID(func(w string) string { return words[w] })
	if err != nil {
		return Heartbeat{}, fmt.Errorf("%w: its subject and body make no id: %w", contracts.ErrHeartbeat, err)
	}
	h := Heartbeat{Agent: id, Instance: *b.Instance, Interval: time.Duration(*b.Interval * float64(time.Second))}
	if contracts.ValidateID(*b.Agent) == nil {
		h.Type = *b.Agent
	}
	if m.id.Has("instance") {
		h.Instance = ""
	}
	return h, nil
}

func decode(data []byte) (b body, err error) {
	if len(data) > contracts.MaxHeartbeatBytes {
		return b, fmt.Errorf("%d bytes; at most %d", len(data), contracts.MaxHeartbeatBytes)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("no heartbeat of the Synadia Agent Protocol: %w", err)
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(b.Agent != nil && *b.Agent != "", "agent: missing")
	check(b.Owner != nil && *b.Owner != "", "owner: missing")
	check(b.Instance != nil && *b.Instance != "", "instance_id: missing")
	check(b.Time != nil, "ts: missing")
	check(b.Interval != nil, "interval_s: missing")
	if len(errs) > 0 {
		return b, errors.Join(errs...)
	}
	check(len(*b.Instance) <= maxInstance, "instance_id: %d bytes; at most %d", len(*b.Instance), maxInstance)
	_, err = time.Parse(time.RFC3339, *b.Time)
	check(err == nil, "ts: %.40q is no RFC 3339 time", *b.Time)
	least, most := contracts.MinHeartbeatInterval, contracts.MaxHeartbeatInterval
	check(*b.Interval >= least.Seconds() && *b.Interval <= most.Seconds(), "interval_s: %g is outside %g to %g", *b.Interval, least.Seconds(), most.Seconds())
	return b, errors.Join(errs...)
}
