package tree

import (
	"slices"
	"strconv"
	"strings"
)

// Scaling is an order to scale in progress: it is done when the instances that it
// added are verified, and those that it removes are gone.
type Scaling struct {
	Token string `json:"token,omitempty"`
	Count int    `json:"count"`
	// Coming counts the added instances that are not verified yet, Going those that are
	// not removed yet.
	Coming int `json:"coming,omitempty"`
	Going  int `json:"going,omitempty"`
}

// setScaling replaces the order to scale a template that is in progress; nil ends it.
func (t *Tree) setScaling(p *node, template string, s *Scaling) {
	// Not in place: copies of the state share the map.
	all := map[string]Scaling{}
	for name, other := range p.st.Supervisor.Scaling {
		if name != template {
			all[name] = other
		}
	}
	if s != nil {
		all[template] = *s
	}
	if len(all) == 0 {
		all = nil
	}
	p.st.Supervisor.Scaling = all
	t.touch(p)
}

// scaler is the supervisor that the configuration gives a template, if an order to
// scale that is in progress.
func (t *Tree) scaler(instance *Spec) (p *node, s Scaling) {
	if instance.Template == "" {
		return nil, s
	}
	if p = t.nodes[instance.home()]; p == nil || p.st.Supervisor == nil {
		return nil, s
	}
	if s, ok := p.st.Supervisor.Scaling[instance.Template]; ok {
		return p, s
	}
	return nil, s
}

// beginScaling has an order to scale wait for what it has just begun, of all instances
// there are, or answers it.
func (t *Tree) beginScaling(p *node, template string, all []*node, in *Input) {
	s := Scaling{Token: in.Token, Count: in.Count}
	for _, n := range all {
		switch {
		case n.spec.Index > s.Count:
			s.Going++
		case n.addedByScaling():
			s.Coming++
		}
	}
	t.setScaling(p, template, &s)
	t.checkScaling(p, template, s)
}

// checkScaling answers an order to scale if nothing is left that it waits for.
func (t *Tree) checkScaling(p *node, template string, s Scaling) {
	if s.Coming == 0 && s.Going == 0 {
		t.endScaling(p, template, OK, t.downInstances(p, template, s.Count))
	}
}

// downInstances says which of the instances that an order to scale has kept do not run,
// though they and their supervisor are to; empty if all do.
func (t *Tree) downInstances(p *node, template string, count int) string {
	var down []string
	for _, n := range t.instances(template) {
		if p.up() && n.spec.Index <= count && n.st.Phase.Down() && !n.finished() && !n.terminated() {
			down = append(down, n.spec.ID)
		}
	}
	switch {
	case len(down) == 0:
		return ""
	case len(down) > 4:
		return strings.Join(down[:4], ", ") + " and " + strconv.Itoa(len(down)-4) + " more do not run"
	case len(down) == 1:
		return down[0] + " does not run"
	}
	return strings.Join(down, ", ") + " do not run"
}

// endScaling answers an order to scale, and releases the instances that it waits for.
func (t *Tree) endScaling(p *node, template string, r Result, why string) {
	s, ok := p.st.Supervisor.Scaling[template]
	if !ok {
		return
	}
	t.setScaling(p, template, nil)
	if s.Coming > 0 {
		for _, n := range t.instances(template) {
			if n.addedByScaling() {
				n.st.Command = nil
				t.touch(n)
			}
		}
	}
	t.emit(Effect{Kind: DoReply, Node: template, Token: s.Token, Result: r, Reason: why})
	if s.Token != "" {
		t.keepAnswer(Answer{Token: s.Token, Result: r, Reason: why})
	}
}

// instanceAdded records what became of an instance that an order to scale has added.
func (t *Tree) instanceAdded(n *node, r Result, why string) {
	p, s := t.scaler(n.spec)
	switch {
	case p == nil:
	case r != OK:
		t.endScaling(p, n.spec.Template, r, why)
	default:
		s.Coming--
		t.setScaling(p, n.spec.Template, &s)
		t.checkScaling(p, n.spec.Template, s)
	}
}

// instanceGone records that an instance is removed.
func (t *Tree) instanceGone(n *node) {
	p, s := t.scaler(n.spec)
	if p == nil || n.spec.Index <= s.Count {
		return
	}
	s.Going--
	t.setScaling(p, n.spec.Template, &s)
	t.checkScaling(p, n.spec.Template, s)
}

// endScalings answers the orders to scale that a supervisor which is removed has in
// progress.
func (t *Tree) endScalings(p *node, why string) {
	if p.st.Supervisor == nil {
		return
	}
	var templates []string
	for template := range p.st.Supervisor.Scaling {
		templates = append(templates, template)
	}
	slices.Sort(templates)
	for _, template := range templates {
		t.endScaling(p, template, Superseded, why)
	}
}

// scaling returns the order to scale a template that is in progress; nil if none is.
func (t *Tree) scaling(template string) *Scaling {
	for _, n := range t.nodes {
		if n.st.Supervisor == nil {
			continue
		}
		if s, ok := n.st.Supervisor.Scaling[template]; ok {
			return &s
		}
	}
	return nil
}

// leftToScale is [Tree.Left] of an order to scale a template.
func (t *Tree) leftToScale(template string) (left int, first string) {
	s := t.scaling(template)
	if s == nil {
		return 0, ""
	}
	for _, n := range t.instances(template) {
		if n.spec.Index > s.Count || n.addedByScaling() {
			return s.Coming + s.Going, n.spec.ID
		}
	}
	return s.Coming + s.Going, ""
}

// addedByScaling reports whether an order to scale has added an instance and waits for
// it.
func (n *node) addedByScaling() bool { return n.st.Command != nil && n.st.Command.Kind == CmdScale }
