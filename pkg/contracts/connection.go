package contracts

import (
	"strconv"
	"strings"
)

// HeartbeatConnection is the name of the NATS connection on which an agent
// beats: the subject of its heartbeats and, where it has one, its incarnation.
// By it the detector learns from the server's advisories whose connection was
// lost.
func HeartbeatConnection(agent string, incarnation uint64) string {
	if incarnation == 0 {
		return HeartbeatSubject(agent)
	}
	return HeartbeatSubject(agent) + "#" + strconv.FormatUint(incarnation, 10)
}

// ParseHeartbeatConnection gives the agent and the incarnation that a
// connection's name tells of; ok is false for connections of any other name.
func ParseHeartbeatConnection(name string) (agent string, incarnation uint64, ok bool) {
	subject, number, numbered := strings.Cut(name, "#")
	agent, err := ParseHeartbeatSubject(subject)
	if err != nil {
		return "", 0, false
	}
	if numbered {
		if incarnation, err = strconv.ParseUint(number, 10, 64); err != nil || HeartbeatConnection(agent, incarnation) != name {
			return "", 0, false
		}
	}
	return agent, incarnation, true
}

// ConnectAdvisories and DisconnectAdvisories are where a server tells of the
// connections of accounts, to accounts that may import it.
const (
	ConnectAdvisories    = "$SYS.ACCOUNT.*.CONNECT"
	DisconnectAdvisories = "$SYS.ACCOUNT.*.DISCONNECT"
)

// CanaryPrefix begins the subjects of the detectors' own heartbeats. They are in
// the subject space of agents' heartbeats, but no agent can have such a one: its
// id would be two tokens.
const CanaryPrefix = HeartbeatPrefix + "canary."

// CanarySubject is where a detector hears itself, and others hear that it works.
func CanarySubject(instance string) string { return CanaryPrefix + instance }

// ParseCanarySubject gives the detector of a canary's subject.
func ParseCanarySubject(subject string) (instance string, err error) {
	return parseLast(subject, CanaryPrefix)
}
