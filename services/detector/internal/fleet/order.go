package fleet

import "time"

// Order is what an operator wants of an agent, whether or not it is known yet.
type Order struct {
	Threshold float64
	Interval  time.Duration
	Ignored   bool
}

// Rule keeps an order for the time when the agent appears; Monitor and
// Unmonitor carry it out on one that is known.
func (f *Fleet) Rule(id string, o Order) {
	if o == (Order{}) {
		delete(f.orders, id)
		return
	}
	f.orders[id] = o
}

// obey applies an order to an agent that begins a new life.
func (f *Fleet) obey(a *agent) {
	if len(f.orders) == 0 {
		return
	}
	o, ordered := f.orders[f.roster.Name(a.number)]
	if !ordered {
		return
	}
	rule := f.rule(a)
	rule.Threshold = or(o.Threshold, rule.Threshold)
	f.setRule(a, rule)
	f.declare(a, o.Interval)
	if o.Ignored {
		a.state = ignored
	}
}
