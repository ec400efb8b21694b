package describe

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Answer is what smith why finds out about a node or a task.
type Answer struct {
	// WhyReply is what led to its state.
	contracts.WhyReply
	// Output is the last that an incarnation printed which has ended.
	Output *Output `json:"output,omitempty"`

	// Now is the state of a node, Task that of a task; both nil when nobody
	// says.
	Now  *contracts.Diagnosis `json:"now,omitempty"`
	Task *contracts.TaskView  `json:"task,omitempty"`
	// Detail is why an agent is degraded, as it says itself.
	Detail string   `json:"detail,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

// Link is an event of a story as a link of a chain.
func Link(e contracts.StoredEvent) contracts.WhyLink {
	return contracts.WhyLink{
		Sequence: e.Sequence, Time: e.Event.Time, Type: e.Event.Type, ID: e.Event.ID, Entity: e.Event.Entity, Evidence: What(e.Event),
	}
}

// columns is how wide a line may be.
const columns = 80

// Why writes an answer: the state, what led to it, and notes.
func Why(w io.Writer, a Answer, now time.Time) error {
	p := &printer{w: w, now: now}
	p.line("", a.headline(p))
	runs := a.Now != nil && a.Now.State == contracts.StateRunning
	if a.Now != nil && a.Now.Reason != "" && !runs {
		p.line("  ", a.Now.Reason)
	}
	if a.Now != nil && a.Now.Node.Degraded {
		p.line("  ", strings.TrimSuffix("it reports itself degraded: "+a.Detail, ": "))
	}
	if a.Task != nil && a.Task.Error != "" {
		p.line("  ", a.Task.Error)
	}
	p.chain(a.WhyReply)
	p.output(a.Output)
	if runs && a.Now.Reason != "" {
		p.line("", a.Now.Reason) // what is left of it, after how it came
	}
	for _, n := range a.Notes {
		p.line("", n)
	}
	return p.err
}

// Chain writes a causal chain, for each link a line and its evidence.
func Chain(w io.Writer, why contracts.WhyReply, now time.Time) error {
	p := &printer{w: w, now: now}
	p.chain(why)
	return p.err
}

func (p *printer) chain(why contracts.WhyReply) {
	for _, l := range why.Chain {
		p.print(p.clock(l.Time) + "  " + strings.TrimPrefix(string(l.Type), "smith.") + "  " + l.Entity)
		evidence := l.Evidence
		if l.Due != nil {
			evidence += "; due " + p.clock(*l.Due)
		}
		if evidence != "" {
			p.line("    ", evidence)
		}
	}
	if !why.Complete && len(why.Chain) > 0 {
		p.line("", "(the beginning is no longer stored)")
	}
	if why.Note != "" {
		p.line("", why.Note)
	}
}

// states are a node's states in words that follow its name.
var states = map[contracts.State]string{
	contracts.StateRunning: "runs", contracts.StateRestarting: "restarts a group", contracts.StateSuspended: "is suspended",
	contracts.StateStarting: "is starting", contracts.StateVerifying: "is starting", contracts.StateStopping: "is stopping",
	contracts.StateUnplaced: "waits for a runner", contracts.StateBudget: "waits for restart budget",
	contracts.StateAwaitsEnd: "waits for others to end",
	contracts.StateBackoff:   "waits for its restart", contracts.StateIsolated: "is isolated", contracts.StateGroup: "waits for its group",
	contracts.StateHeld: "is down", contracts.StateTerminated: "is terminated", contracts.StateFinished: "has finished",
	contracts.StateWithSupervisor: "is down", contracts.StateGaveUp: "gave up", contracts.StateFailed: "has failed",
	contracts.StateStopped: "is stopped", contracts.StateWatched: "is watched", contracts.StateListening: "is listened for",
	contracts.StateForeign: "runs elsewhere",
}

// headline is the state in one line.
func (a Answer) headline(p *printer) string {
	switch {
	case a.Now != nil:
		return headlineOf(a.Now, p)
	case a.Task != nil:
		t := a.Task
		s := fmt.Sprintf("task %s of type %s is %s", t.Task, t.Type, t.Status)
		if t.Agent != "" {
			s += fmt.Sprintf(", by %s#%d", t.Agent, t.Incarnation)
		}
		if t.Attempt > 0 {
			s += fmt.Sprintf(", attempt %d", t.Attempt)
		}
		if t.Since != nil {
			s += ", since " + p.clock(*t.Since)
		}
		return s
	}
	return a.Agent
}

// headlineOf is a node's state in one line.
func headlineOf(d *contracts.Diagnosis, p *printer) string {
	word, ok := states[d.State]
	if !ok {
		word = "is " + string(d.State)
	}
	s := d.Node.Name + " " + word
	if d.Node.Kind == "agent" && d.Node.PID > 0 {
		s += fmt.Sprintf(", incarnation %d", d.Node.Incarnation)
	}
	if d.Since != nil {
		s += ", since " + p.clock(*d.Since)
	}
	if d.Due != nil {
		s += ", until " + p.clock(*d.Due)
	}
	return s
}
