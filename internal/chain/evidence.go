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

// evidence says in one sentence what an event reports.
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
		s = fmt.Sprintf("%s reports %s about %s", e.Source, strings.TrimPrefix(string(e.Type), "smith."), e.Entity)
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
	return fmt.Sprintf("%s %s: %s%s", incarnation(d.Agent, d.Incarnation), d.Reason, said, usedEvidence(d.Exit))
}

// usedEvidence says for how long a process lived and what it used, as far as that
// is known.
func usedEvidence(x *contracts.Exit) string {
	if x == nil || x.Lived == 0 {
		return ""
	}
	s := fmt.Sprintf("; it lived for %s", briefly(x.Lived))
	if u := x.Used; u != nil {
		s += fmt.Sprintf(" and used %s of processor time", briefly(u.User+u.System))
		if u.AtMost {
			s += fmt.Sprintf(" and at most %s of memory", contracts.FormatBytes(u.PeakMemory))
		} else if u.PeakMemory > 0 {
			s += fmt.Sprintf(" and %s of memory at its peak", contracts.FormatBytes(u.PeakMemory))
		}
	}
	return s
}

// briefly is a duration with as many digits as people read.
func briefly(d contracts.Duration) time.Duration {
	switch {
	case d.D() >= time.Minute:
		return d.D().Round(time.Second)
	case d.D() >= time.Second:
		return d.D().Round(10 * time.Millisecond)
	}
	return d.D().Round(time.Millisecond)
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
		return "nothing else is known" + on(d.Runner)
	}
}

func exitEvidence(x contracts.Exit) string {
	var s string
	switch {
	case x.Blame == contracts.BlameHost && x.Unknown:
		s = "ended with its host"
	case x.OutOfMemory:
		s = "ended out of memory, by its limit"
	case x.Signal != "":
		s = "ended by " + x.Signal
		if x.Core {
			s += ", with a core dump"
		}
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
		s += " on request"
	case contracts.StopCompleted:
		s += " by itself"
	}
	if d.Exit != nil {
		s += ": " + exitEvidence(*d.Exit)
	}
	return s + on(d.Runner) + usedEvidence(d.Exit)
}

// decisionEvidence says what was decided about the effect's node, and what led
// to it.
func decisionEvidence(d contracts.DecisionsData, effect *contracts.DecisionEffect, input *contracts.DecisionInput) string {
	s := fmt.Sprintf("decision %d", d.Number)
	if input != nil {
		s += ", " + inputEvidence(*input)
	}
	if effect != nil {
		s += ": " + effectEvidence(*effect)
	}
	if also := othersEvidence(d, effect, input); also != "" {
		s += "; also " + also
	}
	return oneLine(s)
}

// inputEvidence says what a decision was made upon.
func inputEvidence(in contracts.DecisionInput) string {
	s := in.Kind
	switch {
	case in.Kind == "command":
		s = "ordered" + by(in.By) + ": " + orderOf(in)
		return s
	case in.Node != "":
		s = strings.ReplaceAll(in.Kind, "_", " ") + " of " + incarnation(in.Node, in.Incarnation)
	}
	s += by(in.By)
	if in.Detail != "" {
		s += " (" + in.Detail + ")"
	}
	return s
}

// orderOf is an order with its node: its detail begins with what was ordered.
func orderOf(in contracts.DecisionInput) string {
	what, reason, _ := strings.Cut(in.Detail, ": ")
	verb, rest, _ := strings.Cut(what, " ")
	what = strings.Join(strings.Fields(verb+" "+in.Node+" "+rest), " ")
	if reason != "" {
		what += ", " + strconv.Quote(reason)
	}
	return what
}

// by says who ordered something, or nothing where nobody said.
func by(o *contracts.Operator) string {
	if o == nil {
		return ""
	}
	return " by " + o.String()
}

func effectEvidence(f contracts.DecisionEffect) string {
	switch {
	case f.Kind == "running":
		return incarnation(f.Node, f.Incarnation) + " is running, verified"
	case f.Kind == "delay" && f.Detail != "": // it says which restart this is
		return incarnation(f.Node, f.Incarnation) + ", " + f.Detail
	}
	s := wordOf(f.Kind) + " " + incarnation(f.Node, f.Incarnation) + on(f.Runner)
	if f.Detail != "" {
		s += ", " + f.Detail
	}
	return s
}

// wordOf is an effect's kind for people.
func wordOf(kind string) string {
	if kind == "delay" {
		return "restart later"
	}
	return strings.ReplaceAll(kind, "_", " ")
}

// othersEvidence names what else the same input led to, by kind, in order. What
// the decision's other inputs led to has nothing to do with it.
func othersEvidence(d contracts.DecisionsData, effect *contracts.DecisionEffect, input *contracts.DecisionInput) string {
	var kinds []string
	nodes := map[string][]string{}
	for i := range d.Effects {
		f := &d.Effects[i]
		if f == effect || input != nil && f.Input >= 0 && f.Input < len(d.Inputs) && &d.Inputs[f.Input] != input {
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
		parts = append(parts, wordOf(k)+" "+strings.Join(names, ", "))
	}
	return strings.Join(parts, "; ")
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
