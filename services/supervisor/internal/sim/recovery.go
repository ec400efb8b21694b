package sim

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// unwell says what is not as it should be after faults have ceased, or nothing.
func (w *world) unwell() string {
	s := w.leader()
	if s == nil {
		return "nobody leads"
	}
	for _, id := range s.nodes() {
		spec, st, _ := s.tree.Lookup(id)
		if why := w.unwellNode(s, spec, &st); why != "" {
			return id + " " + why
		}
	}
	if why := w.unwellRoll(s); why != "" {
		return why
	}
	for _, name := range w.names {
		if a := w.agents[name]; !s.tree.Has(name) && len(a.live) > 0 && !a.left {
			return fmt.Sprintf("%s is not in the tree and incarnation %d lives", name, a.live[0].incarnation)
		}
	}
	return ""
}

func (w *world) unwellNode(s *supervisor, spec *tree.Spec, st *tree.State) string {
	switch {
	case st.Phase == tree.Watched && !w.Ends, spec.Agent != nil && w.agent(spec.ID).left:
		return "" // whatever it does
	case st.Phase != tree.Running && st.Phase != tree.Idle && st.Phase != tree.Gone:
		return "is " + string(st.Phase) + " " + st.Why
	case st.Command != nil:
		return "has an unanswered command " + string(st.Command.Kind)
	case st.Supervisor != nil && st.Supervisor.Suspended:
		return "is suspended"
	case st.Supervisor != nil && st.Supervisor.Op != nil:
		return fmt.Sprintf("is busy with %+v", *st.Supervisor.Op)
	}
	if spec.Agent != nil {
		if why := w.unwellAgent(w.agent(spec.ID), st); why != "" {
			return why
		}
	}
	if spec.Parent == "" {
		if st.Phase != tree.Running && st.End != tree.EndGaveUp && !w.excused[spec.ID] {
			return "is down: " + st.Why
		}
		return ""
	}
	_, parent, _ := s.tree.Lookup(spec.Parent)
	switch {
	case parent.Phase != tree.Running:
		if st.Phase == tree.Running {
			return "runs under a supervisor that is " + string(parent.Phase)
		}
	case (spec.Restart == tree.Permanent || spec.Restart == "") && st.Phase != tree.Running && st.End != tree.EndGaveUp && !w.excused[spec.ID]:
		return "is " + string(st.Phase) + " though its supervisor runs: " + st.Why
	case w.staysDown(spec, st):
		return "is " + string(st.Phase) + " though only its runner ended it: " + st.Why
	}
	return ""
}

// unwellAgent compares what the tree says of an agent with the truth.
func (w *world) unwellAgent(a *agent, st *tree.State) string {
	switch {
	case st.Phase != tree.Running && len(a.live) > 0:
		return fmt.Sprintf("is %s and incarnation %d lives", st.Phase, a.live[0].incarnation)
	case st.Phase != tree.Running:
	case len(a.live) == 0:
		return fmt.Sprintf("is said to run as incarnation %d and does not", st.Incarnation)
	case a.live[0].incarnation != st.Incarnation:
		return fmt.Sprintf("is said to run as incarnation %d and runs as %d", st.Incarnation, a.live[0].incarnation)
	case a.live[0].hung:
		return "is said to run and hangs"
	}
	return ""
}

// nodes are the names of the tree's nodes.
func (s *supervisor) nodes() []string {
	var all []string
	var walk func(id string)
	walk = func(id string) {
		all = append(all, id)
		for _, c := range s.tree.Children(id) {
			walk(c)
		}
	}
	walk(s.tree.Root())
	return all
}

// everySoOften is how many runs go by without the costly comparison.
const everySoOften = 16

// settled compares, in some runs, the leader's whole tree, byte by byte, with
// what the log gives when all of it has been JSON.
func (c *checker) settled(w *world) {
	s := w.leader()
	if w.Seed%everySoOften != 0 {
		return
	}
	var folded fold
	for _, m := range w.log.messages {
		if m.decision == nil {
			continue
		}
		d, err := throughJSON(m.decision)
		if err != nil {
			w.broken(Replay, "decision %d cannot be stored: %v", m.decision.number, err)
			return
		}
		folded.take(d)
	}
	live, err := json.Marshal(s.tree.Snapshot())
	if err != nil {
		w.broken(Replay, "the tree cannot be stored: %v", err)
		return
	}
	if again, _ := json.Marshal(folded.tree); !bytes.Equal(live, again) {
		w.broken(Replay, "the leader has\n%s\nthe log\n%s", live, again)
	}
}

// throughJSON gives a decision as a reader of the log gets it.
func throughJSON(d *decision) (*decision, error) {
	read := *d
	read.changes = nil
	for _, c := range d.changes {
		raw, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		again := tree.Change{ID: c.ID}
		if err := json.Unmarshal(raw, &again); err != nil {
			return nil, err
		}
		read.changes = append(read.changes, again)
	}
	return &read, nil
}
