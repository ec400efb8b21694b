package contracts

import (
	"errors"
	"fmt"
	"strings"
)

// Subject prefixes and wildcards. Everything MisterSmith says starts with
// "smith.".
const (
	HeartbeatPrefix   = "smith.heartbeat."
	HeartbeatWildcard = "smith.heartbeat.*"
	// HeartbeatAll also matches heartbeats whose agent is no id.
	HeartbeatAll     = "smith.heartbeat.>"
	EventPrefix      = "smith.event."
	EventWildcard    = "smith.event.>"
	TaskPrefix       = "smith.task."
	TaskWildcard     = "smith.task.*"
	DeadPrefix       = "smith.dead."
	DeadWildcard     = "smith.dead.>"
	AnnounceWildcard = "smith.runner.*.announce"
)

// ErrSubject tells that a subject does not have the form expected of it.
var ErrSubject = errors.New("unexpected subject")

// HeartbeatSubject is where an agent says that it lives.
func HeartbeatSubject(agent string) string { return HeartbeatPrefix + agent }

// TaskSubject is where a task of a type enters.
func TaskSubject(taskType string) string { return TaskPrefix + taskType }

// EventSubject is where an event of a type about an entity goes, as
// smith.event.<family>.<name>.<entity>.
func EventSubject(t EventType, entity string) string {
	return EventPrefix + t.Family() + "." + t.Name() + "." + entity
}

// EventTypeWildcard matches every event of a type.
func EventTypeWildcard(t EventType) string { return EventSubject(t, "*") }

// TreeWildcard matches every event of one tree: the subjects that its fence
// compares.
func TreeWildcard(tree string) string { return EventPrefix + FamilyTree + ".*." + tree }

// AgentPingSubject, AgentTaskSubject and AgentStopSubject are the requests an
// agent may answer.
func AgentPingSubject(agent string) string { return "smith.agent." + agent + ".ping" }
func AgentTaskSubject(agent string) string { return "smith.agent." + agent + ".task" }
func AgentStopSubject(agent string) string { return "smith.agent." + agent + ".stop" }

// RunnerSubject is a request to a runner; verb is start, stop, list, logs or forget.
func RunnerSubject(runner, verb string) string { return "smith.runner." + runner + "." + verb }

// AnnounceSubject is where a runner announces itself.
func AnnounceSubject(runner string) string { return "smith.runner." + runner + ".announce" }

// ServiceSubject is an endpoint of a service's API, such as
// smith.supervisor.tree.
func ServiceSubject(service, verb string) string { return "smith." + service + "." + verb }

// DeadEventSubject and DeadTaskSubject are where messages are set aside.
func DeadEventSubject(reason string) string  { return DeadPrefix + "event." + reason }
func DeadTaskSubject(taskType string) string { return DeadPrefix + "task." + taskType }

// ParseHeartbeatSubject gives the agent of a heartbeat's subject.
func ParseHeartbeatSubject(subject string) (agent string, err error) {
	return parseLast(subject, HeartbeatPrefix)
}

// ParseTaskSubject gives the type of a task's subject.
func ParseTaskSubject(subject string) (taskType string, err error) {
	return parseLast(subject, TaskPrefix)
}

// ParseAnnounceSubject gives the runner of an announcement's subject.
func ParseAnnounceSubject(subject string) (runner string, err error) {
	mid, ok := strings.CutSuffix(subject, ".announce")
	if !ok {
		return "", subjectError(subject, AnnounceWildcard)
	}
	return parseLast(mid, "smith.runner.")
}

// ParseEventSubject splits smith.event.<family>.<name>.<entity>.
func ParseEventSubject(subject string) (t EventType, entity string, err error) {
	rest, ok := strings.CutPrefix(subject, EventPrefix)
	family, rest, _ := strings.Cut(rest, ".")
	name, entity, three := strings.Cut(rest, ".")
	if !ok || !three || strings.Contains(entity, ".") {
		return "", "", subjectError(subject, "smith.event.<family>.<name>.<entity>")
	}
	if err := validateIDs("family", family, "name", name, "entity", entity); err != nil {
		return "", "", fmt.Errorf("%w %q: %w", ErrSubject, clip(subject), err)
	}
	t = MakeEventType(family, name)
	if err := t.Validate(); err != nil {
		return "", "", fmt.Errorf("%w %q: %w", ErrSubject, clip(subject), err)
	}
	return t, entity, nil
}

func parseLast(subject, prefix string) (string, error) {
	id, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return "", subjectError(subject, prefix+"<id>")
	}
	if err := ValidateID(id); err != nil {
		return "", fmt.Errorf("%w %q: %w", ErrSubject, clip(subject), err)
	}
	return id, nil
}

func subjectError(subject, want string) error {
	return fmt.Errorf("%w %q: expected %s", ErrSubject, clip(subject), want)
}

// clip bounds what an error quotes of a hostile sender's text.
func clip(s string) string {
	const most = 160
	return Clip(s, most)
}
