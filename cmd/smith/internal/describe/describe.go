// Package describe puts events into one line for people.
package describe

import (
	"fmt"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Line is the event as "time type entity: what happened", in local time and safe
// to print.
func Line(e contracts.Event, now time.Time) string {
	line := Clock(e.Time, now) + "  " + strings.TrimPrefix(string(e.Type), "smith.") + "  " + e.Entity
	if what := What(e); what != "" {
		line += "  " + what
	}
	return Plain(line)
}

// What is what happened, without time, type and entity. It is empty when the
// type says it all.
func What(e contracts.Event) string {
	switch e.Type {
	case contracts.AgentFailed:
		return as(e, failed)
	case contracts.AgentStarted:
		return as(e, func(d contracts.AgentStartedData) string {
			if d.Runner == "" { // by hand
				return fmt.Sprintf("#%d, pid %d", d.Incarnation, d.PID)
			}
			return fmt.Sprintf("#%d on %s, pid %d", d.Incarnation, d.Runner, d.PID)
		})
	case contracts.AgentStopped:
		return as(e, func(d contracts.AgentStoppedData) string {
			return fmt.Sprintf("#%d %s", d.Incarnation, d.Reason)
		})
	case contracts.AgentRecovered:
		return as(e, func(d contracts.AgentRecoveredData) string {
			return fmt.Sprintf("#%d beats again after %s", d.Incarnation, d.Down)
		})
	case contracts.AgentStateChanged:
		return as(e, func(d contracts.AgentStateChangedData) string {
			return fmt.Sprintf("#%d %s → %s", d.Incarnation, d.From, d.To)
		})
	case contracts.AgentConflict:
		return as(e, func(d contracts.AgentConflictData) string { return d.Detail })
	case contracts.TreeProposed, contracts.TreeDecided, contracts.TreeRollingStopped, contracts.TreeIsolated, contracts.TreeEscalated, contracts.TreeGaveUp:
		return as(e, decisions)
	}
	return other(e)
}

func other(e contracts.Event) string {
	switch e.Type.Family() {
	case contracts.FamilyTask:
		return task(e)
	case contracts.FamilySystem:
		return system(e)
	}
	return ""
}

// as describes the event's data, or says that it cannot be read.
func as[T any](e contracts.Event, describe func(T) string) string {
	data, err := contracts.DecodeData[T](e)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return describe(data)
}

func failed(d contracts.AgentFailedData) string {
	s := fmt.Sprintf("#%d %s", d.Incarnation, d.Reason)
	switch {
	case d.Exit != nil && d.Exit.Blame == contracts.BlameHost && d.Detail != "": // who ended it, not how
		s += ": " + d.Detail
	case d.Exit != nil:
		s += ": " + Exit(*d.Exit)
	case d.Silence != nil && (d.Detail == "" || d.Reason != contracts.ReasonHung && d.Reason != contracts.ReasonStoppingTimeout): // these beat
		s += fmt.Sprintf(": silent for %s, phi %.1f", round(d.Silence.Elapsed.D()), d.Silence.Phi)
	case d.Detail != "":
		s += ": " + d.Detail
	}
	return s
}

// Exit says how a process ended.
func Exit(x contracts.Exit) string {
	switch {
	case x.Core:
		return x.Signal + ", core dumped"
	case x.OutOfMemory:
		return "out of memory"
	case x.Signal != "":
		return x.Signal
	case x.Blame == contracts.BlameHost:
		return "ended with its host"
	case x.Unknown:
		return "exit status unknown"
	default:
		return fmt.Sprintf("exit code %d", x.Code)
	}
}

func decisions(d contracts.DecisionsData) string {
	var parts []string
	for _, x := range d.Effects {
		part := strings.TrimSuffix(x.Kind+" "+x.Action, " ") + " " + x.Node
		if x.Incarnation > 0 {
			part += fmt.Sprintf("#%d", x.Incarnation)
		}
		if x.Detail != "" {
			part += " (" + x.Detail + ")"
		}
		parts = append(parts, part)
	}
	const most = 6
	if n := len(parts); n > most {
		parts = append(parts[:most], fmt.Sprintf("and %d more", n-most))
	}
	if len(parts) == 0 {
		for _, in := range d.Inputs {
			parts = append(parts, strings.TrimSpace(in.Kind+" "+in.Node+" "+in.Detail))
		}
	}
	return strings.Join(parts, ", ")
}

func task(e contracts.Event) string {
	switch e.Type {
	case contracts.TaskAssigned, contracts.TaskReassigned:
		return as(e, func(d contracts.TaskAssignedData) string {
			s := fmt.Sprintf("%s to %s#%d, attempt %d", d.Task, d.Agent, d.Incarnation, d.Attempt)
			if d.PreviousAgent != "" {
				s += fmt.Sprintf(", taken from %s: %s", d.PreviousAgent, d.Reason)
			}
			return s
		})
	case contracts.TaskCompleted, contracts.TaskFailed:
		return as(e, func(d contracts.TaskResultData) string {
			s := fmt.Sprintf("%s by %s#%d in %s", d.Task, d.Agent, d.Incarnation, round(d.Took.D()))
			if d.Error != "" {
				s += ": " + d.Error
			}
			return s
		})
	case contracts.TaskDeadLettered:
		return as(e, func(d contracts.TaskDeadData) string { return d.Task + ": " + d.Reason })
	}
	return as(e, func(d contracts.TaskSubmittedData) string { return d.Task })
}

func system(e contracts.Event) string {
	switch e.Type {
	case contracts.SystemHealthCheckPassed, contracts.SystemHealthCheckFailed:
		return as(e, func(d contracts.SystemHealthData) string { return strings.TrimSpace(d.Check + " " + d.Detail) })
	case contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver:
		return as(e, func(d contracts.CorrelatedSilenceData) string { return d.Kind + ": " + d.Detail })
	case contracts.SystemBreakerOpen, contracts.SystemBreakerClosed:
		return as(e, func(d contracts.SystemBreakerData) string { return d.Breaker + ": " + d.Reason })
	case contracts.SystemMessageRejected:
		return as(e, func(d contracts.SystemRejectedData) string { return d.Origin + ": " + d.Cause })
	case contracts.SystemStarted, contracts.SystemStopping, contracts.SystemStopped:
		return as(e, func(d contracts.SystemLifecycleData) string {
			return strings.TrimSpace(d.Instance + " " + strings.Join(d.Problems, "; "))
		})
	}
	return ""
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
