package tree

import "slices"

// history is what has happened to a node.
type history struct{ failures, restarts chronicle }

// chronicle is a list of entries, the last new ones of which are not yet in
// Changes.
type chronicle struct {
	all   []Entry
	fresh int
}

// history is where to write what happens to a node.
func (n *node) history() *history {
	if n.past == nil {
		n.past = &history{}
	}
	return n.past
}

// remembered copies all entries that count.
func (h *history) remembered() (failures, restarts []Entry) {
	if h == nil {
		return nil, nil
	}
	return h.failures.latest(MaxHistory), h.restarts.latest(MaxHistory)
}

// lastFailure is the latest failure, nil if there was none.
func (h *history) lastFailure() *Entry {
	if h == nil || len(h.failures.all) == 0 {
		return nil
	}
	return &h.failures.all[len(h.failures.all)-1]
}

// lastRestart is the latest restart, nil if there was none.
func (h *history) lastRestart() *Entry {
	if h == nil || len(h.restarts.all) == 0 {
		return nil
	}
	return &h.restarts.all[len(h.restarts.all)-1]
}

// untold copies the entries that it has not been asked for yet.
func (h *history) untold() (failures, restarts []Entry) {
	if h == nil {
		return nil, nil
	}
	failures, restarts = h.failures.latest(h.failures.fresh), h.restarts.latest(h.restarts.fresh)
	h.failures.fresh, h.restarts.fresh = 0, 0
	return failures, restarts
}

// add appends an entry. To be cheap it lets the list grow to twice what is
// remembered before it cuts; latest gives what counts.
func (c *chronicle) add(e Entry) {
	if len(c.all) >= 2*MaxHistory {
		c.all = c.all[:copy(c.all, c.all[len(c.all)-MaxHistory+1:])]
	}
	c.all = append(c.all, e)
	c.fresh = min(c.fresh+1, MaxHistory)
}

// latest copies the last n entries that are remembered.
func (c *chronicle) latest(n int) []Entry {
	return slices.Clone(c.all[len(c.all)-min(n, len(c.all), MaxHistory):])
}
