package chain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// maxSentence bounds what one link says.
const maxSentence = 400

// evidence says in one sentence what an event tells.
func evidence(e contracts.Event) string {
	var s string
	switch e.Type {
	case contracts.AgentFailed:
		s = decoded(e, failureEvidence)
	case contracts.AgentStarted:
		s = decoded(e, startEvidence)
	case contracts.AgentStopped:
		s = decoded(e, stopEvidence)
	case contracts.SystemCorrelatedSilence:
		s = decoded(e, func(d contracts.CorrelatedSilenceData) string { return d.Detail })
	default:
		s = fmt.Sprintf("%s said %s of %s", e.Source, strings.TrimPrefix(string(e.Type), "smith."), e.Entity)
	}
	return oneLine(s)
}

func decoded[T any](e contracts.Event, say func(T) string) string {
	data, err := contracts.DecodeData[T](e)
	if err != nil {
		return fmt.Sprintf("%s from %s, whose data cannot be read", e.Type, e.Source)
	}
	return say(data)
}

func failureEvidence(d contracts.AgentFailedData) string {
	said := d.Detail
	if said == "" {
		said = composedFailure(d)
	}
	return fmt.Sprintf("%s of %s: %s", d.Reason, incarnation(d.Agent, d.Incarnation), said)
}

func composedFailure(d contracts.AgentFailedData) string {
	switch {
	case d.Exit != nil:
		return exitEvidence(*d.Exit) + on(d.Runner)
	case d.Silence != nil:
		s := fmt.Sprintf("no heartbeat for %s", d.Silence.Elapsed.D().Round(time.Millisecond))
		if d.Silence.Samples > 0 {
			s += fmt.Sprintf(" (phi %.1f, threshold %.1f, %d samples)", d.Silence.Phi, d.Silence.Threshold, d.Silence.Samples)
		}
		return s
	default:
		return "no more is known" + on(d.Runner)
	}
}

func exitEvidence(x contracts.Exit) string {
	var s string
	switch {
	case x.Signal != "":
		s = "ended by " + x.Signal
	case x.Blame == contracts.BlameHost:
		s = "ended with its host, which rebooted, or with its container, which was restarted"
	case x.Unknown:
		s = "ended while its runner was away"
	default:
		s = "ended with exit code " + strconv.Itoa(x.Code)
	}
	lines := strings.Split(strings.TrimSpace(x.Tail), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		s += fmt.Sprintf(", last words %q", contracts.Clip(last, 120))
	}
	return s
}

func startEvidence(d contracts.AgentStartedData) string {
	s := incarnation(d.Agent, d.Incarnation) + " started" + on(d.Runner)
	if d.PID != 0 {
		s += " as process " + strconv.Itoa(d.PID)
	}
	return s
}

func stopEvidence(d contracts.AgentStoppedData) string {
	s := incarnation(d.Agent, d.Incarnation) + " stopped"
	switch d.Reason {
	case contracts.StopRequested:
		s += " as ordered"
	case contracts.StopCompleted:
		s += " by itself"
	}
	if d.Exit != nil {
		s += ": " + exitEvidence(*d.Exit)
	}
	return s + on(d.Runner)
}

// decisionEvidence says what was decided about the effect's node, and what led
// to it.
func decisionEvidence(d contracts.DecisionsData, effect *contracts.DecisionEffect, input *contracts.DecisionInput) string {
	s := fmt.Sprintf("decision %d", d.Number)
	if input != nil {
		s += " on " + inputEvidence(*input)
	}
	if effect != nil {
		s += ": " + effectEvidence(*effect)
	}
	if others := len(d.Effects); effect != nil && others > 1 {
		s += "; " + othersEvidence(d.Effects, effect)
	} else if effect == nil && others > 0 {
		s += ": " + othersEvidence(d.Effects, nil)
	}
	return oneLine(s)
}

func runningEvidence(d contracts.DecisionsData, effect contracts.DecisionEffect) string {
	s := incarnation(effect.Node, effect.Incarnation) + " is running, verified"
	if effect.Detail != "" {
		s += ": " + effect.Detail
	} else if effect.Input >= 0 && effect.Input < len(d.Inputs) && d.Inputs[effect.Input].Detail != "" {
		s += ": " + d.Inputs[effect.Input].Detail
	}
	return oneLine(fmt.Sprintf("decision %d: %s", d.Number, s))
}

func inputEvidence(in contracts.DecisionInput) string {
	s := in.Kind
	if in.Node != "" {
		s += " of " + incarnation(in.Node, in.Incarnation)
	}
	if in.Detail != "" {
		s += " (" + in.Detail + ")"
	}
	return s
}

func effectEvidence(f contracts.DecisionEffect) string {
	s := f.Kind + " " + incarnation(f.Node, f.Incarnation) + on(f.Runner)
	if f.Due != nil {
		s += " until " + f.Due.UTC().Format("15:04:05.000")
	}
	if f.Detail != "" {
		s += ", " + f.Detail
	}
	return s
}

// othersEvidence names the effects beside one, by kind, in order.
func othersEvidence(effects []contracts.DecisionEffect, except *contracts.DecisionEffect) string {
	var kinds []string
	nodes := map[string][]string{}
	for i := range effects {
		f := &effects[i]
		if f == except {
			continue
		}
		if _, seen := nodes[f.Kind]; !seen {
			kinds = append(kinds, f.Kind)
		}
		nodes[f.Kind] = append(nodes[f.Kind], f.Node)
	}
	var parts []string
	for _, k := range kinds {
		names := nodes[k]
		if len(names) > 4 {
			names = append(names[:4:4], fmt.Sprintf("%d more", len(names)-4))
		}
		parts = append(parts, k+" "+strings.Join(names, ", "))
	}
	return "also " + strings.Join(parts, "; ")
}

func incarnation(node string, n uint64) string {
	if n == 0 {
		return node
	}
	return fmt.Sprintf("%s#%d", node, n)
}

func on(runner string) string {
	if runner == "" {
		return ""
	}
	return " on " + runner
}

// incarnationOf gives the incarnation that an agent's event names, or 0.
func incarnationOf(e contracts.Event) uint64 {
	var d struct {
		Incarnation uint64 `json:"incarnation"`
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return 0
	}
	return d.Incarnation
}

// oneLine keeps a sentence on a line and within bounds.
func oneLine(s string) string {
	return contracts.Clip(strings.Join(strings.Fields(s), " "), maxSentence)
}
