package decisionlog

import (
	"slices"
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Takeover is the kind of the input that a supervisor begins with: its memory
// is that of the log, and it knows no runners yet.
const Takeover = "takeover"

// inputWords are the kinds of inputs as decisions call them.
var inputWords = map[tree.InputKind]string{
	tree.Exited: "exit", tree.Lost: "lost", tree.Failed: "verdict", tree.Started: "start_result", tree.StartFailed: "start_result",
	tree.Stopped: "stop_result", tree.Beat: "heartbeat", tree.Tick: "timer", tree.Order: "command",
	tree.Configure: "config", tree.Runners: "runners", tree.SeenAlive: "seen", tree.HeartbeatsMissed: "deaf",
	tree.Found: "found", tree.Raised: "raised", tree.Declined: "declined",
}

// InputWord is the kind of an input as decisions call it.
func InputWord(k tree.InputKind) string { return inputWords[k] }

// inputKind is the kind that decisions call by a word, or empty. Starts share a
// word, whether they failed or not.
func inputKind(word string, failed bool) tree.InputKind {
	for k, w := range inputWords {
		if w == word && (k == tree.StartFailed) == failed {
			return k
		}
	}
	return ""
}

// effectWords are the kinds of effects that decisions call otherwise than the
// tree does.
var effectWords = map[tree.EffectKind]string{tree.NoteRestart: "delay", tree.DoReport: "emit"}

// EffectWord is the kind of an effect as decisions call it.
func EffectWord(k tree.EffectKind) string {
	if w, ok := effectWords[k]; ok {
		return w
	}
	return string(k)
}

// EffectKind is the kind that decisions call by a word.
func EffectKind(word string) tree.EffectKind {
	for k, w := range effectWords {
		if w == word {
			return k
		}
	}
	return tree.EffectKind(word)
}

// writeEffect returns what a decision made at now records of an effect of one of
// its inputs.
func writeEffect(e tree.Effect, input int, now tree.Instant) contracts.DecisionEffect {
	out := contracts.DecisionEffect{
		Kind: EffectWord(e.Kind), Node: e.Node, Incarnation: e.Incarnation, Runner: e.Runner,
		Input: input, Detail: e.Reason, Correlation: e.Chain, Action: string(e.Action), Due: e.Due.Optional(),
	}
	switch {
	case e.Kind == tree.NoteRestart:
		out.Detail = "restart #" + strconv.Itoa(e.Attempt) + " in " + time.Duration(e.Due-now).Round(time.Millisecond).String() + ": " + e.Reason
	case e.Kind == tree.DoStop && e.Kill:
		out.Detail = "killed: " + e.Reason
	}
	return out
}

// names are the types of decisions, the gravest first.
var names = []contracts.EventType{
	contracts.TreeGaveUp, contracts.TreeEscalated, contracts.TreeIsolated, contracts.TreeRollingStopped, contracts.TreeDecided, contracts.TreeProposed,
}

// nameOf is the type of a decision that has only one effect.
func nameOf(k tree.EffectKind) contracts.EventType {
	switch k {
	case tree.NoteGiveUp:
		return contracts.TreeGaveUp
	case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff:
		return contracts.TreeEscalated
	case tree.NoteIsolate:
		return contracts.TreeIsolated
	case tree.NoteRollingStopped:
		return contracts.TreeRollingStopped
	case tree.Propose:
		return contracts.TreeProposed
	}
	return contracts.TreeDecided
}

// graver names a decision after the gravest thing in it.
func graver(t contracts.EventType, k tree.EffectKind) contracts.EventType {
	if u := nameOf(k); t == "" || slices.Index(names, u) < slices.Index(names, t) {
		return u
	}
	return t
}
