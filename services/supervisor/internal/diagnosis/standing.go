package diagnosis

import (
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Standing lists the orders that stand about a node itself.
func Standing(id string, st *tree.State) []contracts.StandingOrder {
	var out []contracts.StandingOrder
	orders := st.Standing()
	for _, o := range []*tree.StandingOrder{orders.Down, orders.Suspension, orders.Mode, orders.Place} {
		if o != nil {
			out = append(out, standing(id, o))
		}
	}
	return out
}

func standing(id string, o *tree.StandingOrder) contracts.StandingOrder {
	return contracts.StandingOrder{
		Node: id, Order: o.What, Reason: o.Reason, By: (*contracts.Operator)(o.By), At: o.At.Optional(), Decision: o.Cause,
	}
}

// orderWords returns an order in the few words that a list has room for.
func orderWords(what string, o *tree.StandingOrder) string {
	if o == nil {
		return what
	}
	if o.Reason != "" {
		what += ": " + o.Reason
	}
	if o.By != nil && o.By.User != "" {
		what += ", by " + o.By.User
	}
	return what
}

// downWords returns, for a list, that an operator ended a node, and why.
func downWords(o *tree.StandingOrder) string {
	if o != nil && o.What == "drain" {
		return orderWords("drained", o)
	}
	return orderWords("terminated", o)
}

// tell adds to the explanation an order that stands about a node, after some words.
func (e *explainer) tell(words, id string, o *tree.StandingOrder) {
	if o == nil {
		return
	}
	told := standing(id, o)
	e.d.Orders = append(e.d.Orders, told)
	text := told.String()
	if id != e.spec.ID {
		text = "ordered for " + id + ": " + text
	}
	e.d.Reason += words + text
}

// standing adds the orders about the node that do not explain its state.
func (e *explainer) standing() {
	for _, o := range Standing(e.spec.ID, &e.st) {
		if slices.ContainsFunc(e.d.Orders, func(told contracts.StandingOrder) bool { return told.Node == o.Node && told.Order == o.Order }) {
			continue
		}
		e.d.Orders = append(e.d.Orders, o)
		words := "ordered: "
		if e.d.Reason != "" {
			words = "; " + words
		}
		e.d.Reason += words + o.String()
	}
}

// suspension adds the order by which a supervisor is suspended.
func (e *explainer) suspension(supervisor string) {
	if _, st, ok := e.tree.Lookup(supervisor); ok {
		e.tell("; ", supervisor, st.Standing().Suspension)
	}
}

// suspended explains a supervisor by the order that suspended it: it runs, and what
// led to that is older.
func (e *explainer) suspended() {
	e.say("an operator suspended it; what fails below it waits")
	o := e.st.Standing().Suspension
	if e.tell(": ", e.spec.ID, o); o != nil && o.Cause != "" {
		e.d.Since, e.d.Cause, e.d.Chain = o.At.Optional(), o.Cause, o.Chain
	}
}

// watched explains an agent that is not enforced, by the order that gave it its mode
// if that was one. One that is known to be down has that as the cause.
func (e *explainer) watched() {
	e.say("its mode is %s, so nothing is started or stopped", e.tree.Mode(e.spec.ID))
	of, o := e.tree.ModeOrder(e.spec.ID)
	if e.tell(": ", of, o); o != nil && o.Cause != "" && e.st.End == "" && o.At > e.st.Since {
		e.d.Cause, e.d.Chain = o.Cause, o.Chain
	}
	if e.st.Why != "" {
		e.d.Reason += "; " + e.st.Why
	}
}
