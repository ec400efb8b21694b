package tree

import (
	"reflect"
	"testing"
)

// words that the tree gives as reasons itself, which anybody may give, too.
var words = []string{whyFinished, whyTerminated, whyFailed, whyGaveUp, whyOrdered, whyGroup, whySupervisor, "", string(Lost), string(EndStopped)}

// TestReasonsAreWords: what is decided about an end does not depend on the words
// that are said about it.
func TestReasonsAreWords(t *testing.T) {
	t.Parallel()
	for _, restart := range []Restart{Permanent, Transient, Temporary} {
		for _, kind := range []InputKind{Exited, Failed, StartFailed, Lost} {
			for _, mode := range []Mode{Enforce, Shadow} {
				var want []string
				for i, reason := range words {
					got := fates(t, restart, mode, Input{Kind: kind, Reason: reason})
					if i == 0 {
						want = got
					}
					if !reflect.DeepEqual(got, want) {
						t.Errorf("%s %s %s %q: %v, but %q: %v", restart, mode, kind, reason, got, words[0], want)
					}
				}
			}
		}
	}
}

// fates tells what becomes of an agent after an input: at once, when it is moved
// from a supervisor that is down to one that runs, and when its mode changes.
func fates(t *testing.T, restart Restart, mode Mode, in Input) []string {
	b := newBench(t, sup("root", "", Supervisor{MaxRestarts: 9}), sup("s", "root", Supervisor{MaxRestarts: 9}), sup("to", "root", Supervisor{}),
		agent("a", "s", func(s *Spec) { s.Restart = restart }))
	setting := RolloutOf(mode)
	b.do(Input{Kind: Order, Command: CmdMode, Node: "a", Mode: &setting})
	in.Node, in.Incarnation = "a", 1
	if in.Kind == StartFailed && mode == Enforce {
		b.raw(Input{Kind: Order, Command: CmdRestart, Node: "a"})
		b.raw(Input{Kind: Stopped, Node: "a", Incarnation: 1})
		in.Incarnation = 2
	}
	b.do(Input{Kind: Order, Command: CmdSuspend, Node: "s"})
	b.do(in)
	where := func() string {
		_, st, there := b.tree.Lookup("a")
		if !there {
			return "gone"
		}
		return string(st.Phase) + " " + string(st.End)
	}
	out := []string{where()}
	b.do(Input{Kind: Order, Command: CmdTerminate, Node: "s"})
	out = append(out, where())
	b.do(Input{Kind: Order, Command: CmdMove, Node: "a", To: "to"})
	out = append(out, where())
	enforce := RolloutOf(Enforce)
	b.do(Input{Kind: Order, Command: CmdMode, Node: "a", Mode: &enforce})
	return append(out, where())
}

func TestBlame(t *testing.T) {
	t.Parallel()
	for end, want := range map[End]Blame{
		"": BlameNobody, EndCompleted: BlameNobody, EndFinished: BlameNobody, EndStopped: BlameNobody,
		EndExited: BlameAgent, EndStartFailed: BlameAgent, EndFailed: BlameAgent, EndShutdown: BlameAgent, EndEscalated: BlameAgent, EndGaveUp: BlameAgent, EndCooling: BlameAgent,
		EndLost: BlameHost, EndTerminated: BlameOperator,
	} {
		if got := end.Blame(); got != want {
			t.Errorf("%q is the doing of %q, want %q", end, got, want)
		}
	}
}

// A supervisor whose work is done is not shown as failed, and stays down.
func TestAutoShutdownCompletes(t *testing.T) {
	t.Parallel()
	s := sup("s", "root", Supervisor{AutoShutdown: AnySignificant})
	s.Restart = Transient
	b := newBench(t, sup("root", "", Supervisor{}), s, agent("a", "s", func(s *Spec) { s.Restart, s.Significant = Transient, true }))
	b.do(Input{Kind: Exited, Node: "a", Incarnation: 1, Normal: true, Reason: "completed"})
	if st := b.state("s"); st.Phase != Idle || st.End != EndFinished {
		t.Errorf("it is %s, %s", st.Phase, st.End)
	}
}
