package diagnosis

import "github.com/mistersmith/mistersmith/services/supervisor/internal/tree"

// queued says of an order about a node, if one waits, what it waits for.
func (n *subject) queued() string {
	cmd := n.st.Command
	if cmd == nil || cmd.Queued == 0 {
		return ""
	}
	until := " has restarted its group"
	switch op := n.above.op; {
	case op == nil && n.above.suspended != "":
		until = " is resumed"
	case op == nil:
		until = " is free"
	case op.Kind == tree.OpStop:
		until = " has stopped"
	case op.Kind == tree.OpBoot:
		until = " is up"
	}
	return string(cmd.Kind) + " ordered; it waits until supervisor " + n.spec.Parent + until
}

// queued adds an order that waits.
func (e *explainer) queued() { e.d.Reason = joined(e.d.Reason, e.subject.queued()) }

// joined is two reasons as one; either may be empty.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
