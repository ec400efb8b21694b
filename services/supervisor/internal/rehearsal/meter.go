package rehearsal

import (
	"maps"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// service is what an agent is to those who need it.
type service int

const (
	// off: it is not meant to be up: finished, or stopped by an operator.
	off service = iota
	up
	// down: it is meant to be up and is not.
	down
	// waiting is down, in backoff, cool-off or in want of a runner.
	waiting
	// throttled is waiting, for restart budget.
	throttled
)

// isDown reports whether it is meant to be up and is not, for whatever reason.
func (s service) isDown() bool { return s == down || s.waits() }

// waits reports whether nothing is to be done for it but wait.
func (s service) waits() bool { return s == waiting || s == throttled }

// meter measures one side from the changes of its tree.
type meter struct {
	now   tree.Instant
	nodes map[string]*place
	lives map[string]*contracts.RehearsalLife
	total contracts.RehearsalTotals
}

// place is a node as the meter knows it.
type place struct {
	id     string
	parent *place
	kids   map[string]*place
	agent  bool
	state  *tree.State
	// what it is, for supervisors to all below, since when.
	is    service
	since tree.Instant
}

func newMeter(s tree.Snapshot, at tree.Instant) *meter {
	m := &meter{now: at, nodes: map[string]*place{}, lives: map[string]*contracts.RehearsalLife{}}
	var add func(id string)
	add = func(id string) {
		if n := s.Nodes[id]; m.nodes[id] == nil && n != nil {
			add(n.Spec.Parent)
			m.change(tree.Change{ID: id, Spec: n.Spec, State: n.State})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Nodes)) {
		add(id)
		if n := m.nodes[id]; n != nil && n.is == throttled {
			m.count(tree.NoteBudget, id)
		}
	}
	return m
}

// apply takes changes into account, new parents before their children.
func (m *meter) apply(changes []tree.Change, at tree.Instant) {
	m.now = at
	late := changes
	for len(late) > 0 {
		var again []tree.Change
		for _, c := range late {
			if c.Spec != nil && c.Spec.Parent != "" && m.nodes[c.Spec.Parent] == nil {
				again = append(again, c)
				continue
			}
			m.change(c)
		}
		if len(again) == len(late) {
			return // of parents that are not there
		}
		late = again
	}
}

func (m *meter) change(c tree.Change) {
	n := m.nodes[c.ID]
	if c.Removed {
		if n != nil {
			m.become(n, off)
			delete(m.nodes, c.ID)
			if n.parent != nil {
				delete(n.parent.kids, c.ID)
			}
			if n.agent {
				m.life(c.ID).Phase = ""
			}
		}
		return
	}
	if n == nil {
		if c.Spec == nil {
			return
		}
		n = &place{id: c.ID, agent: c.Spec.Agent != nil, kids: map[string]*place{}, since: m.now}
		m.nodes[c.ID] = n
	}
	if c.Spec != nil {
		n.under(m.nodes[c.Spec.Parent])
	}
	if c.State != nil {
		n.state = c.State
	}
	m.look(n)
}

// under puts a node under its parent, which is another once it has been moved.
func (n *place) under(parent *place) {
	if n.parent != nil {
		delete(n.parent.kids, n.id)
	}
	if n.parent = parent; parent != nil {
		parent.kids[n.id] = n
	}
}

// look finds out what a node is now.
func (m *meter) look(n *place) {
	if n.state == nil {
		return
	}
	if n.agent {
		m.become(n, n.agentIs())
		m.life(n.id).Phase = string(n.state.Phase)
		return
	}
	if is := n.supervisorIs(); is != n.is {
		n.is = is
		for _, k := range n.kids {
			m.look(k)
		}
	}
}

// supervisorIs tells what a supervisor makes of agents below it that do not
// run: off, waiting, or down.
func (n *place) supervisorIs() service {
	above := down
	if n.parent != nil {
		above = n.parent.is
	}
	st := n.state
	switch {
	case above == off, dismissed(st) && (st.Phase == tree.Idle || st.Phase == tree.Ended || st.Phase == tree.Gone || st.Phase == tree.Stopping):
		return off
	case above == waiting, st.Phase == tree.Waiting, st.Phase == tree.Isolated:
		return waiting
	case st.Supervisor != nil && st.Supervisor.Op != nil && st.Supervisor.Op.Stage == tree.StageWait:
		return waiting
	}
	return down
}

func (n *place) agentIs() service {
	st := n.state
	switch {
	case st.Phase == tree.Running, st.Phase == tree.Stabilising:
		return up
	case st.Phase == tree.Watched, st.Phase == tree.Foreign:
		return off // somebody else's
	case st.Phase == tree.Claiming:
		return waiting
	case st.Phase == tree.Gone, dismissed(st), st.Phase == tree.Idle && st.End == tree.EndFinished:
		return off
	case st.Phase == tree.Throttled:
		return throttled
	case st.Phase == tree.Waiting, st.Phase == tree.Isolated, st.Phase == tree.Unplaced:
		return waiting
	case n.parent == nil:
		return down
	case n.parent.is == waiting && st.Phase != tree.Idle && st.Phase != tree.Ended:
		return down
	}
	return n.parent.is
}

// dismissed reports whether an operator wants a node down, be the order carried
// out or waiting. One that an operator restarts is meant to be up meanwhile.
func dismissed(st *tree.State) bool {
	if cmd := st.Command; cmd != nil {
		switch cmd.Kind {
		case tree.CmdTerminate, tree.CmdRemove, tree.CmdClose:
			return true
		case tree.CmdRestart, tree.CmdStart:
			return false
		}
	}
	return st.End == tree.EndTerminated && st.Then != tree.ThenRestart
}

// become ends what an agent was.
func (m *meter) become(n *place, is service) {
	if n.agent {
		spent := contracts.Duration(time.Duration(m.now - n.since))
		life := m.life(n.id)
		if n.is.isDown() {
			life.Downtime += spent
		}
		if n.is.waits() {
			life.Waiting += spent
		}
		if n.is == throttled {
			life.BudgetWaited += spent
		}
	}
	n.is, n.since = is, m.now
}

func (m *meter) life(agent string) *contracts.RehearsalLife {
	l := m.lives[agent]
	if l == nil {
		l = &contracts.RehearsalLife{}
		m.lives[agent] = l
	}
	return l
}

// count counts a decided effect.
func (m *meter) count(kind tree.EffectKind, node string) {
	switch kind {
	case tree.DoStart:
		m.total.Starts++
		m.life(node).Starts++
	case tree.NoteRestart:
		m.total.Restarts++
		if n := m.nodes[node]; n != nil && n.agent {
			m.life(node).Restarts++
		}
	case tree.NoteBudget:
		m.total.BudgetWaits++
		m.life(node).BudgetWaits++
	case tree.NoteIsolate:
		m.total.Isolations++
	case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff:
		m.total.Escalations++
	case tree.NoteGiveUp:
		m.total.GiveUps++
	case tree.Propose:
		m.total.Proposals++
	}
}

// end closes the measurement.
func (m *meter) end(at tree.Instant) {
	m.now = at
	for _, n := range m.nodes {
		if n.agent {
			m.become(n, n.is)
			if n.is.isDown() {
				m.total.Down++
			}
		}
	}
	for _, l := range m.lives {
		m.total.Downtime += l.Downtime
		m.total.Waiting += l.Waiting
		m.total.BudgetWaited += l.BudgetWaited
	}
}
