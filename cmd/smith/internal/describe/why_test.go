package describe_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func text(t *testing.T, a describe.Answer, now time.Time) string {
	t.Helper()
	var b strings.Builder
	if err := describe.Why(&b, a, now); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhyOfANode(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	at, due := now.Add(-time.Minute), now.Add(24*time.Hour)
	a := describe.Answer{
		WhyReply: contracts.WhyReply{Agent: "waits", Complete: true, Note: "a note", Chain: []contracts.WhyLink{
			{Time: at.Add(-48 * time.Hour), Type: contracts.AgentFailed, Entity: "waits", Evidence: "waits#1 exited: process 7 exited with code 5"},
			{Time: at, Type: contracts.TreeDecided, Entity: "main", Due: &due, Evidence: "decision 12, exit of waits#1 (exited with code 5): waits#1, restart #1 in 24h0m0s: exited with code 5"},
		}},
		Now: &contracts.Diagnosis{
			Node: contracts.NodeView{Name: "waits", Kind: "agent", Incarnation: 1}, State: contracts.StateBackoff,
			Reason: "it is down and restarts after a delay: exited with code 5", Since: &at, Due: &due,
		},
		Notes: []string{"another"},
	}
	const want = `waits waits for its restart, since 11:59:00.000, until 2026-03-03 12:00:00.000
  it is down and restarts after a delay: exited with code 5
2026-02-28 11:59:00.000  agent.failed  waits
    waits#1 exited: process 7 exited with code 5
11:59:00.000  tree.decided  main
    decision 12, exit of waits#1 (exited with code 5): waits#1, restart #1 in
    24h0m0s: exited with code 5; due 2026-03-03 12:00:00.000
a note
another
`
	if diff := cmp.Diff(want, text(t, a, now)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a.Now = nil
	if got := text(t, a, now); !strings.HasPrefix(got, "waits\n2026-02-28") {
		t.Errorf("without a supervisor:\n%s", got)
	}
}

// Of what runs, how it came to run is told first.
func TestWhyOfWhatRunsAndFailedLately(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	at := now.Add(-time.Minute)
	a := describe.Answer{
		WhyReply: contracts.WhyReply{Agent: "a", Complete: true, Chain: []contracts.WhyLink{
			{Time: at, Type: contracts.AgentFailed, Entity: "a", Evidence: "a#1 exited: process 7 exited with code 5"},
		}},
		Now: &contracts.Diagnosis{
			Node: contracts.NodeView{Name: "a", Kind: "agent", Incarnation: 2}, State: contracts.StateRunning,
			Reason: "it runs, but was restarted 1 time", Since: &at,
		},
	}
	const want = `a runs, since 11:59:00.000
11:59:00.000  agent.failed  a
    a#1 exited: process 7 exited with code 5
it runs, but was restarted 1 time
`
	if diff := cmp.Diff(want, text(t, a, now)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhyOfATask(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	a := describe.Answer{
		WhyReply: contracts.WhyReply{Agent: "t1"},
		Task:     &contracts.TaskView{Task: "t1", Type: "research", Status: "assigned", Agent: "a", Incarnation: 2, Attempt: 3, Since: &now, Error: "no luck\nat all"},
	}
	const want = "task t1 of type research is assigned, by a#2, attempt 3, since 12:00:00.000\n  no luck\\nat all\n"
	if diff := cmp.Diff(want, text(t, a, now)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEveryStateHasWords: what a state is called on the wire is not what people
// read.
func TestEveryStateHasWords(t *testing.T) {
	t.Parallel()
	for _, s := range []contracts.State{
		contracts.StateRunning, contracts.StateRestarting, contracts.StateSuspended, contracts.StateStarting, contracts.StateVerifying,
		contracts.StateStopping, contracts.StateUnplaced, contracts.StateAwaitsEnd, contracts.StateBudget, contracts.StateBackoff, contracts.StateIsolated,
		contracts.StateGroup, contracts.StateHeld, contracts.StateTerminated, contracts.StateFinished, contracts.StateWithSupervisor,
		contracts.StateGaveUp, contracts.StateFailed, contracts.StateStopped, contracts.StateWatched, contracts.StateListening, contracts.StateForeign,
	} {
		got := text(t, describe.Answer{Now: &contracts.Diagnosis{State: s, Node: contracts.NodeView{Name: "x"}}}, time.Now())
		if strings.Contains(got, "_") || len(got) < len("x runs\n") {
			t.Errorf("%s: %q", s, got)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWhyReportsTheWritersError(t *testing.T) {
	t.Parallel()
	if err := describe.Why(full{}, describe.Answer{WhyReply: contracts.WhyReply{Agent: "a"}}, time.Now()); err == nil {
		t.Error("no error")
	}
}

// FuzzWhy: whatever agents print, lines fit a terminal and have no control
// characters.
func FuzzWhy(f *testing.F) {
	f.Add("\x1b]0;owned\x07 out of\tmemory", "ü\u202e")
	f.Add(strings.Repeat("x", 200), "\xff\xfe")
	f.Fuzz(func(t *testing.T, evidence, reason string) {
		a := describe.Answer{
			WhyReply: contracts.WhyReply{Agent: "a", Chain: []contracts.WhyLink{{Type: contracts.AgentFailed, Entity: "a", Evidence: evidence}}, Note: evidence},
			Now:      &contracts.Diagnosis{Node: contracts.NodeView{Name: "a"}, State: contracts.StateRunning, Reason: reason},
		}
		for _, line := range strings.Split(text(t, a, time.Now()), "\n") {
			if utf8.RuneCountInString(line) > 80 || strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
				t.Errorf("%q", line)
			}
		}
		ev := contracts.Event{Type: contracts.AgentFailed, Entity: "a", Data: []byte(evidence)}
		if line := describe.Line(ev, time.Now()); strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q", line)
		}
	})
}

// The last output of an incarnation comes after the chain, and does nothing to the
// terminal.
func TestWhyOfWhatPrinted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	got := text(t, describe.Answer{
		WhyReply: contracts.WhyReply{Agent: "a", Complete: true},
		Output: &describe.Output{Agent: "a", Incarnation: 6, Lines: []describe.OutputLine{
			{Time: now, Text: "  indented"}, {Time: now, Text: "\x1b[2Jpanic"}, {Time: now, Text: strings.Repeat("x", 9000)},
		}},
	}, now)
	const want = "a\nthe last that a#6 printed (smith logs a --incarnation 6 has more):\n" +
		"  12:00:00.000    indented\n" + `  12:00:00.000  \x1b[2Jpanic` + "\n  12:00:00.000  x"
	if !strings.HasPrefix(got, want) || len(got) > 1000 {
		t.Errorf("%q", got)
	}
}
