package tree

// End is how a node came to be down or, while it stops, why it will be. It is
// empty for a node that has not begun, and for one that is not down. The text in
// State.Why says the same to people, and more; decisions read End alone.
type End string

// Ends.
const (
	// EndExited: it ended by itself, and failed. EndCompleted: it ended by itself
	// and did not: its work is done, or its significant children have ended.
	EndExited    End = "exited"
	EndCompleted End = "completed"
	// EndFinished: it completed, and its supervisor leaves it down.
	EndFinished End = "finished"
	// EndStartFailed: it did not come up.
	EndStartFailed End = "start_failed"
	// EndFailed: it was found failed, and killed.
	EndFailed End = "failed"
	// EndLost: it ended with its host.
	EndLost End = "lost"
	// EndStopped: it was stopped with its group or its supervisor, or to be
	// started elsewhere or as specified now.
	EndStopped End = "stopped"
	// EndTerminated: an operator ended it.
	EndTerminated End = "terminated"
	// EndShutdown: a supervisor exceeded its limit and ended towards its parent,
	// which OTP calls a shutdown. EndEscalated: its strategy is to fail with its
	// first child.
	EndShutdown  End = "shutdown"
	EndEscalated End = "escalated"
	// EndGaveUp: a supervisor exceeded its limit and stays down until an operator
	// starts it.
	EndGaveUp End = "gave_up"
	// EndCooling: a supervisor exceeded its limit and starts afresh after a pause.
	// Its parent has nothing to do with that.
	EndCooling End = "cooling_off"
)

// Blame is what caused an end.
type Blame string

// What can be to blame. A supervisor fails by its agents.
const (
	BlameNobody   Blame = ""
	BlameAgent    Blame = "agent"
	BlameHost     Blame = "host"
	BlameOperator Blame = "operator"
)

// Blame returns what caused the end.
func (e End) Blame() Blame {
	switch e {
	case EndExited, EndStartFailed, EndFailed, EndShutdown, EndEscalated, EndGaveUp, EndCooling:
		return BlameAgent
	case EndLost:
		return BlameHost
	case EndTerminated:
		return BlameOperator
	}
	return BlameNobody
}

// Failed reports whether an end is a failure: the node's own, that of one below it, or
// its host's.
func (e End) Failed() bool { return e.Blame() == BlameAgent || e.Blame() == BlameHost }

// charged reports whether an end counts against limits and delays the restart: not
// the end of a host, nor one that somebody asked the runner for.
func (e End) charged() bool { return e != EndLost && e != EndStopped }

// normal reports whether a transient child that ended so is left down.
func (e End) normal() bool { return e == EndCompleted || e == EndFinished || e == EndShutdown }

// final reports whether what ended so stays down until an operator starts it or
// its supervisor starts afresh.
func (e End) final() bool { return e == EndTerminated || e == EndFinished || e == EndGaveUp }

// endOf is the end of an agent that an input reports.
func endOf(in *Input) End {
	switch {
	case in.Kind == Lost:
		return EndLost
	case in.Kind == StartFailed:
		return EndStartFailed
	case in.Kind == Failed:
		return EndFailed
	case in.Requested:
		return EndStopped
	case in.Normal:
		return EndCompleted
	}
	return EndExited
}

// ends reports whether a node in the phase is down, or will be, so that its state
// says how that came.
func (p Phase) ends() bool { return p.Down() || p == Stopping || p == Watched }

// setDown moves a node on to a phase in which it is down, or will be.
func (t *Tree) setDown(n *node, phase Phase, end End, why string) {
	t.setPhase(n, phase, why)
	n.st.End = end
}
