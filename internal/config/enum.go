package config

import (
	"strings"

	"github.com/mistersmith/mistersmith/internal/strategy"
)

// Strategy says which siblings a failed child takes along.
type Strategy = strategy.Strategy

// The strategies that are named here.
const (
	OneForOne = strategy.OneForOne
	OneForAll = strategy.OneForAll
)

// Restart says which ends of a child lead to a restart.
type Restart string

// Permanent children always restart, transient ones after an abnormal end,
// temporary ones never.
const (
	Permanent Restart = "permanent"
	Transient Restart = "transient"
	Temporary Restart = "temporary"
)

// AutoShutdown says whether significant children end their supervisor when
// they end by themselves.
type AutoShutdown string

// Never, when any of them ends, or when all have.
const (
	AutoShutdownNever AutoShutdown = "never"
	AnySignificant    AutoShutdown = "any_significant"
	AllSignificant    AutoShutdown = "all_significant"
)

// Escalation is what follows when a supervisor exceeds its restart limit.
type Escalation string

// Set apart the child that fails too often and try it again after a cool-off; fail
// towards the parent; stop the subtree permanently; stop it and start it again
// after the cool-off; or record it and continue restarting.
const (
	EscalationIsolate   Escalation = "isolate"
	EscalationEscalate  Escalation = "escalate"
	EscalationTerminate Escalation = "terminate"
	EscalationRestart   Escalation = "restart"
	EscalationIgnore    Escalation = "ignore"
)

// Heartbeats says who beats for an agent.
type Heartbeats string

// The agent itself, or its runner for as long as the process lives.
const (
	ByAgent  Heartbeats = "agent"
	ByRunner Heartbeats = "runner"
)

// OnReturn is what an agent does that started elsewhere because its host was
// lost, when that host is back.
type OnReturn string

// It stays where it is, or starts anew where it was.
const (
	OnReturnStay   OnReturn = "stay"
	OnReturnReturn OnReturn = "return"
)

// Algorithm is how silence becomes suspicion; see the detector.
type Algorithm string

// Each agent's own empirical tail; a normal distribution (Hayashibara et al.
// 2004); a fixed number of missed beats.
const (
	AlgorithmTail   Algorithm = "tail"
	AlgorithmNormal Algorithm = "normal"
	AlgorithmFixed  Algorithm = "fixed"
)

// BackoffType is the shape of growing restart delays.
type BackoffType string

// The shapes.
const (
	Fixed       BackoffType = "fixed"
	Linear      BackoffType = "linear"
	Exponential BackoffType = "exponential"
	Fibonacci   BackoffType = "fibonacci"
)

var (
	strategies    = strategy.Strategies()
	restarts      = []Restart{Permanent, Transient, Temporary}
	autoShutdowns = []AutoShutdown{AutoShutdownNever, AnySignificant, AllSignificant}
	escalations   = []Escalation{EscalationIsolate, EscalationEscalate, EscalationTerminate, EscalationRestart, EscalationIgnore}
	rootPolicies  = []Escalation{EscalationIsolate, EscalationTerminate, EscalationRestart, EscalationIgnore}
	heartbeats    = []Heartbeats{ByAgent, ByRunner}
	onReturns     = []OnReturn{OnReturnStay, OnReturnReturn}
	algorithms    = []Algorithm{AlgorithmTail, AlgorithmNormal, AlgorithmFixed}
	backoffTypes  = []BackoffType{Fixed, Linear, Exponential, Fibonacci}
)

// ParseStrategy reads a strategy in any spelling: OneForAll, one_for_all,
// one-for-all.
func ParseStrategy(s string) (Strategy, bool) { return parseEnum(strategies, s) }

// ParseRestart reads a restart type in any case.
func ParseRestart(s string) (Restart, bool) { return parseEnum(restarts, s) }

func parseEnum[T ~string](all []T, s string) (T, bool) {
	for _, v := range all {
		if fold(string(v)) == fold(s) {
			return v, true
		}
	}
	return "", false
}

// fold makes the spellings of one word alike.
func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = string(v)
	}
	return out
}
