package contracts

// Blame names what an end is charged to: whatever ended it first. Only an agent's own
// ends count against a limit or wait for a backoff.
type Blame string

const (
	// BlameAgent: it ended by itself.
	BlameAgent Blame = ""
	// BlameHost: its host rebooted, the container of its runner was restarted, or its
	// runner ended it without an order, because the runner was cut off or was ended
	// itself.
	BlameHost Blame = "host"
	// BlameOrder: it was ordered to end.
	BlameOrder Blame = "order"
)

// Outcome is what an end comes to.
type Outcome string

// Outcomes.
const (
	// OutcomeRequested: it was ordered to end.
	OutcomeRequested Outcome = "requested"
	// OutcomeLost: it ended with its host, by no fault of its own.
	OutcomeLost Outcome = "lost"
	// OutcomeCompleted: it ended by itself, with exit code 0.
	OutcomeCompleted Outcome = "completed"
	// OutcomeFailed: it ended by itself, in any other way.
	OutcomeFailed Outcome = "failed"
)

// Outcome returns what the end comes to. Who ended a process is decided before how it
// ended: an agent that answers the stop signal of its host with exit code 0 has not
// completed, and one that answers an order with code 3 has not failed.
func (x Exit) Outcome() Outcome {
	switch {
	case x.Blame == BlameOrder:
		return OutcomeRequested
	case x.Blame == BlameHost:
		return OutcomeLost
	case !x.Unknown && x.Signal == "" && x.Code == 0:
		return OutcomeCompleted
	}
	return OutcomeFailed
}
