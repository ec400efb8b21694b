package tree

// successions are the agents that configurations have added and that have not started,
// with those that were removed by the same one.
type successions map[string][]predecessor

// predecessor is an agent that was removed.
type predecessor struct {
	id          string
	incarnation uint64
	// until is when its time to stop is over, at the earliest.
	until Instant
}

// begin notes what a configuration adds and removes.
func (s *successions) begin(w *world, in *Input) {
	if *s == nil {
		*s = successions{}
	}
	listed := map[string]bool{}
	for _, spec := range in.Specs {
		listed[spec.ID] = true
	}
	var gone []predecessor
	for id, n := range w.tree.nodes {
		if n.spec.Dynamic || listed[id] || !n.ordered() || w.live[id] == 0 {
			continue
		}
		p := predecessor{id, w.live[id], forever}
		if d := n.spec.ShutdownTimeout; d > 0 {
			p.until = w.now.Add(d)
		}
		gone = append(gone, p)
	}
	for _, spec := range in.Specs {
		if spec.Agent != nil && w.tree.nodes[spec.ID] == nil {
			(*s)[spec.ID] = gone
		}
	}
}

// started fails when an agent is started before those have ended that were removed when
// it was added, though their time is not over.
func (s successions) started(w *world, e Effect) {
	if e.Kind != DoStart {
		return
	}
	for _, p := range s[e.Node] {
		if w.live[p.id] == p.incarnation && w.now < p.until && w.tree.nodes[p.id].goes() {
			w.t.Fatalf("%s is started before %s has ended, which was removed when it was added", e.Node, p.id)
		}
	}
	delete(s, e.Node)
}
