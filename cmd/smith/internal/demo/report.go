package demo

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Report is what the demo found.
type Report struct {
	OK     bool          `json:"ok"`
	Agents int           `json:"agents"`
	Faults []FaultResult `json:"faults"`
	Tasks  TaskCounts    `json:"tasks"`
	// Events is the number of events stored, Rejected of those set aside.
	Events   uint64             `json:"events"`
	Rejected uint64             `json:"rejected"`
	Why      contracts.WhyReply `json:"why"`
	Took     float64            `json:"took_seconds"`
	Problems []string           `json:"problems,omitempty"`
}

// FaultResult is one fault and what came of it.
type FaultResult struct {
	Fault    string `json:"fault"`
	Agent    string `json:"agent"`
	Evidence string `json:"evidence"`
	// Detect and Recover are counted from the fault: until the failure was
	// reported, and until all concerned were running and verified.
	Detect  time.Duration `json:"detect_ns"`
	Recover time.Duration `json:"recover_ns"`
	// Decision is what the supervisor ordered, in order.
	Decision string `json:"decision"`
	// Reassigned counts the tasks taken from the victim.
	Reassigned   int               `json:"reassigned"`
	Before       map[string]uint64 `json:"incarnation_before"`
	After        map[string]uint64 `json:"incarnation_after"`
	Began        time.Time         `json:"began"`
	FailureEvent string            `json:"failure_event,omitempty"`
	OK           bool              `json:"ok"`
	Problem      string            `json:"problem,omitempty"`
}

// TaskCounts is what became of the tasks.
type TaskCounts struct {
	Submitted  int `json:"submitted"`
	Completed  int `json:"completed"`
	Reassigned int `json:"reassigned"`
	Lost       int `json:"lost"`
}

// Print writes the report for people.
func (r Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\n\tFAULT\tFOUND BY\tDETECTED\tVERIFIED\tINCARNATION")
	for _, f := range r.Faults {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", mark(f.OK), f.Fault, f.Evidence, ms(f.Detect), ms(f.Recover), f.moves())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nwhat was decided")
	d := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Faults {
		fmt.Fprintf(d, "   %s\t%s\n", f.Fault, f.decisions())
	}
	if err := d.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\ntasks   %d submitted, %d completed, %d reassigned, %d lost\n", r.Tasks.Submitted, r.Tasks.Completed, r.Tasks.Reassigned, r.Tasks.Lost)
	fmt.Fprintf(w, "events  %d stored, %d set aside\n", r.Events, r.Rejected)
	return nil
}

// Verdict is the last line.
func (r Report) Verdict(w io.Writer) {
	for _, p := range r.Problems {
		fmt.Fprintln(w, "problem:", p)
	}
	if r.OK {
		fmt.Fprintf(w, "\nok: everything recovered as its strategy says, no task was lost (%.1f s)\n", r.Took)
	} else {
		fmt.Fprintf(w, "\nFAILED after %.1f s\n", r.Took)
	}
}

// decisions is what was ordered, and what the router did.
func (f FaultResult) decisions() string {
	if f.Reassigned == 0 {
		return f.Decision
	}
	return fmt.Sprintf("%s; reassign %s", f.Decision, tasks(f.Reassigned))
}

func tasks(n int) string {
	if n == 1 {
		return "1 task"
	}
	return fmt.Sprintf("%d tasks", n)
}

// moves is "agent before→after" for every agent concerned.
func (f FaultResult) moves() string {
	var agents []string
	for a := range f.Before {
		agents = append(agents, a)
	}
	sort.Strings(agents)
	for i, a := range agents {
		agents[i] = fmt.Sprintf("%s %d→%d", a, f.Before[a], f.After[a])
	}
	return strings.Join(agents, ", ")
}

func mark(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

// ms rounds a duration for people.
func ms(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}
