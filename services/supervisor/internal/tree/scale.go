package tree

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Scale is a count that was given at run time to a template that the
// configuration gives another. It lasts until the configured one changes.
type Scale struct {
	Count      int `json:"count"`
	Configured int `json:"configured"`
}

// Instance names the index-th instance of a template.
func Instance(template string, index int) string { return template + "-" + strconv.Itoa(index) }

// instances lists what there is of a template, by index.
func (t *Tree) instances(template string) []*node {
	var out []*node
	for _, n := range t.nodes {
		if n.spec.Template == template && n.spec.Index > 0 {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *node) int { return cmp.Compare(a.spec.Index, b.spec.Index) })
	return out
}

// scale gives a template as many instances as an operator wants: the missing
// ones are added and started, those with the highest indices removed.
func (t *Tree) scale(in *Input) {
	have := t.instances(in.Node)
	if len(have) == 0 {
		t.reply(in, NotFound, "")
		return
	}
	if in.Count < 1 {
		t.reply(in, Invalid, "at least 1 instance must remain; terminate the instances to have none run")
		return
	}
	p := t.nodes[have[0].spec.home()]
	if p == nil {
		t.reply(in, NotFound, "its supervisor is gone")
		return
	}
	missing := t.missing(have, in.Count)
	for _, s := range missing {
		if t.nodes[s.ID] != nil {
			t.reply(in, AlreadyPresent, "there is another "+s.ID)
			return
		}
	}
	coming := slices.DeleteFunc(slices.Clone(have), func(n *node) bool { return !n.addedByScaling() || n.spec.Index > in.Count })
	t.endScaling(p, in.Node, Superseded, "another order to scale it")
	for _, n := range coming {
		n.st.Command = &Command{Kind: CmdScale, Story: t.story}
		t.touch(n)
	}
	t.keepScale(p, in.Node, Scale{in.Count, have[0].spec.Instances})
	t.emit(Effect{Kind: NoteScale, Node: p.spec.ID, Reason: fmt.Sprintf("%s from %d to %d", in.Node, len(have), in.Count)})
	for _, n := range have {
		if n.spec.Index <= in.Count {
			t.readmit(n)
		}
	}
	fresh := t.instantiate(p, in.Node, missing)
	t.beginScaling(p, in.Node, slices.Concat(have, fresh), in)
	slices.Reverse(have)
	t.discard(slices.DeleteFunc(have, func(n *node) bool { return n.spec.Index <= in.Count }))
}

// home names the supervisor that the configuration gives a node.
func (s *Spec) home() string { return cmp.Or(s.Origin, s.Parent) }

// keepScale notes a template's count, unless it is the configured one.
func (t *Tree) keepScale(p *node, template string, c Scale) {
	s := p.st.Supervisor
	scaled := maps.Clone(s.Scaled)
	if scaled == nil {
		scaled = map[string]Scale{}
	}
	if scaled[template] = c; c.Count == c.Configured {
		delete(scaled, template)
	}
	s.Scaled = scaled
	t.touch(p)
}

// missing returns the specs of the instances that a template lacks.
func (t *Tree) missing(have []*node, count int) []*Spec {
	there := map[int]bool{}
	for _, n := range have {
		there[n.spec.Index] = true
	}
	var out []*Spec
	for i := 1; i <= count; i++ {
		if !there[i] {
			out = append(out, newInstance(have[0].spec, i))
		}
	}
	return out
}

// newInstance returns the spec of a further instance of the same template.
func newInstance(s *Spec, index int) *Spec {
	c := *s
	c.ID, c.Index, c.Dynamic = Instance(s.Template, index), index, false
	if c.Origin != "" {
		c.Parent, c.Origin = c.Origin, ""
	}
	return &c
}

// instantiate adds instances behind those that there are, and starts them, if their
// supervisor is up. The order to scale waits for those that start.
func (t *Tree) instantiate(p *node, template string, specs []*Spec) (fresh []*node) {
	if len(specs) == 0 {
		return nil
	}
	for _, s := range specs {
		s.Rank = math.MaxInt64
		n := t.insert(s)
		t.emit(Effect{Kind: NoteAdd, Node: s.ID, Reason: "another of " + template})
		fresh = append(fresh, n)
	}
	var order, rest []*node
	kids := p.arranged()
	for _, n := range kids {
		switch {
		case n.spec.Template == template:
			order = append(order, n)
		default:
			rest = append(rest, n)
		}
	}
	slices.SortFunc(order, func(a, b *node) int { return cmp.Compare(a.spec.Index, b.spec.Index) })
	at := slices.IndexFunc(kids, func(n *node) bool { return n.spec.Template == template })
	t.arrange(p, slices.Concat(rest[:min(at, len(rest))], order, rest[min(at, len(rest)):]))
	for _, n := range fresh {
		if n.st.Phase != Idle || !p.up() {
			continue
		}
		n.st.Command = &Command{Kind: CmdScale, Story: t.story}
		if !t.willStart(p, n) {
			t.bringUp(n, t.story)
		}
	}
	return fresh
}

// discard stops and removes nodes, whatever they are in the middle of. The members of a
// group are stopped one after the other, see trim.
func (t *Tree) discard(nodes []*node) {
	for _, n := range nodes {
		if n.st.Discarded() {
			continue
		}
		t.leaving[n] = struct{}{}
		t.forgetDown(n) // it is brought down for another reason from now on
		was := n.st.Command
		if was != nil && was.Kind.ends() {
			// It is being ended by order, which is done when it is removed.
			n.st.Command = &Command{Kind: CmdRemove, Joined: was.tokens(), Story: t.story}
			t.touch(n)
			t.obey(n)
			continue
		}
		t.answerWith(n, Superseded, "its removal")
		if p := n.parent; !p.spec.Supervisor.Strategy.Group() || !n.st.Phase.live() || n.st.Phase == Stopping {
			t.command(n, CmdRemove, "")
		} else {
			n.st.Command = &Command{Kind: CmdRemove, Story: t.story}
			t.touch(n)
			p.trims = true
		}
	}
	for _, n := range nodes {
		t.trim(n.parent)
	}
}

// Discarded reports whether a node is about to be removed because it is no longer
// configured.
func (s *State) Discarded() bool {
	return s.Command != nil && s.Command.Kind == CmdRemove && s.Command.Token == ""
}

// readmit keeps a node that is about to be removed: it is configured again. What
// is being stopped already starts again.
func (t *Tree) readmit(n *node) {
	if !n.st.Discarded() {
		return
	}
	t.answerWith(n, Superseded, "a configuration that has it again")
	if p, s := t.scaler(n.spec); p != nil && n.spec.Index > s.Count {
		t.endScaling(p, n.spec.Template, Superseded, "a configuration that has "+n.spec.ID+" again")
	}
	if n.st.Phase == Stopping && n.st.Then == ThenRemove {
		n.st.Then, n.st.Why = ThenRestart, whyRestart
		n.st.Story = t.story
	}
	t.touch(n)
}

// scaled applies to a configuration the counts that were given at run time. A
// template whose configured count is another now has that; the scales that
// still hold are given too, by supervisor. What an order has added is there already:
// one of these that is not was removed since.
func (t *Tree) scaled(specs []*Spec) ([]*Spec, map[string]map[string]Scale) {
	any := false
	for _, n := range t.nodes {
		any = any || n.st.Supervisor != nil && len(n.st.Supervisor.Scaled) > 0
	}
	if !any {
		return specs, nil
	}
	valid := map[string]map[string]Scale{}
	last := map[[2]string]int{}
	for i, s := range specs {
		last[[2]string{s.Parent, s.Template}] = i
	}
	var out []*Spec
	for i, s := range specs {
		c, ok := t.scaleOf(s)
		if !ok || s.Instances != c.Configured {
			out = append(out, s)
			continue
		}
		if valid[s.Parent] == nil {
			valid[s.Parent] = map[string]Scale{}
		}
		valid[s.Parent][s.Template] = c
		if s.Index <= c.Count {
			out = append(out, s)
		}
		for k := c.Configured + 1; k <= c.Count && i == last[[2]string{s.Parent, s.Template}]; k++ {
			if more := newInstance(s, k); t.nodes[more.ID] != nil {
				out = append(out, more)
			}
		}
	}
	return out, valid
}

func (t *Tree) scaleOf(s *Spec) (Scale, bool) {
	p := t.nodes[s.Parent]
	if p == nil || p.st.Supervisor == nil || s.Template == "" {
		return Scale{}, false
	}
	c, ok := p.st.Supervisor.Scaled[s.Template]
	return c, ok
}

// keepScales forgets the counts that hold no more.
func (t *Tree) keepScales(valid map[string]map[string]Scale) {
	if valid == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[id]
		if s := n.st.Supervisor; s != nil && len(s.Scaled) > 0 && len(s.Scaled) != len(valid[id]) {
			s.Scaled = valid[id]
			t.touch(n)
		}
	}
}
