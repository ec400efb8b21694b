package tree

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
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
		t.refuse(in, NotFound, "")
		return
	}
	if in.Count < 1 {
		t.refuse(in, Invalid, "at least 1 instance must remain; terminate the instances to have none run")
		return
	}
	p := t.nodes[cmp.Or(have[0].spec.Origin, have[0].spec.Parent)]
	if p == nil {
		t.refuse(in, NotFound, "its supervisor is gone")
		return
	}
	missing := t.missing(have, in.Count)
	for _, s := range missing {
		if t.nodes[s.ID] != nil {
			t.refuse(in, AlreadyPresent, "there is another "+s.ID)
			return
		}
	}
	t.keepScale(p, in.Node, Scale{in.Count, have[0].spec.Instances})
	t.emit(Effect{Kind: NoteScale, Node: p.spec.ID, Reason: fmt.Sprintf("%s from %d to %d", in.Node, len(have), in.Count)})
	t.instantiate(p, in.Node, missing)
	for _, n := range slices.Backward(have) {
		if n.spec.Index > in.Count {
			t.discard(n)
		}
	}
	t.refuse(in, OK, "")
}

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

// missing gives the specs of the instances that a template lacks.
func (t *Tree) missing(have []*node, count int) []*Spec {
	there := map[int]bool{}
	for _, n := range have {
		there[n.spec.Index] = true
	}
	var out []*Spec
	for i := 1; i <= count; i++ {
		if !there[i] {
			out = append(out, another(have[0].spec, i))
		}
	}
	return out
}

// another gives the spec of a further instance of the same template.
func another(s *Spec, index int) *Spec {
	c := *s
	c.ID, c.Index, c.Dynamic = Instance(s.Template, index), index, false
	if c.Origin != "" {
		c.Parent, c.Origin = c.Origin, ""
	}
	return &c
}

// instantiate adds instances behind those that there are, and starts them.
func (t *Tree) instantiate(p *node, template string, specs []*Spec) {
	if len(specs) == 0 {
		return
	}
	var fresh []*node
	for _, s := range specs {
		s.Rank = math.MaxInt64
		n := t.insert(s)
		t.emit(Effect{Kind: NoteAdd, Node: s.ID, Reason: "another of " + template})
		fresh = append(fresh, n)
	}
	var order, rest []*node
	for _, n := range p.kids {
		switch {
		case n.spec.Template == template:
			order = append(order, n)
		default:
			rest = append(rest, n)
		}
	}
	slices.SortFunc(order, func(a, b *node) int { return cmp.Compare(a.spec.Index, b.spec.Index) })
	at := slices.IndexFunc(p.kids, func(n *node) bool { return n.spec.Template == template })
	t.arrange(p, slices.Concat(rest[:min(at, len(rest))], order, rest[min(at, len(rest)):]))
	for _, n := range fresh {
		if n.st.Phase == Idle && p.up() && !t.willStart(p, n) {
			t.begin(n, t.cause, t.chain, false)
		}
	}
}

// discard stops and removes a node, now or when its supervisor is free.
func (t *Tree) discard(n *node) {
	t.answer(n, Superseded)
	n.st.Command = t.command(RemoveIt, "")
	t.touch(n)
	if t.busy(n.parent) {
		t.enqueue(n)
		return
	}
	t.obey(n)
}

// scaled applies to a configuration the counts that were given at run time. A
// template whose configured count is another now has that; the scales that
// still hold are given too, by supervisor.
func (t *Tree) scaled(specs []*Spec) ([]*Spec, map[string]map[string]Scale) {
	any := false
	for _, n := range t.nodes {
		any = any || n.st.Supervisor != nil && len(n.st.Supervisor.Scaled) > 0
	}
	if !any {
		return specs, nil
	}
	valid := map[string]map[string]Scale{}
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
		if last := i == len(specs)-1 || specs[i+1].Template != s.Template; last {
			for k := c.Configured + 1; k <= c.Count; k++ {
				out = append(out, another(s, k))
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

// move puts a node with all below it under another supervisor, last. What runs
// runs on; from now on it is the new supervisor's to restart. What was down only
// because its supervisor was comes up under one that runs.
func (t *Tree) move(n *node, in *Input) {
	to := t.nodes[in.To]
	if why, r := t.movable(n, to, in.To); r != OK {
		t.refuse(in, r, why)
		return
	}
	from := n.parent
	if from == to {
		t.refuse(in, OK, "")
		return
	}
	from.abandon(n)
	spec := *n.spec
	if !spec.Dynamic {
		spec.Origin = cmp.Or(spec.Origin, spec.Parent)
	}
	if spec.Parent = to.spec.ID; spec.Parent == spec.Origin {
		spec.Origin = ""
	}
	spec.Rank = rankGap
	if len(to.kids) > 0 {
		spec.Rank += to.kids[len(to.kids)-1].spec.Rank
	}
	n.spec, n.parent = &spec, to
	to.adopt(n)
	t.mark(n, dirtyState|dirtySpec)
	t.emit(Effect{Kind: NoteMove, Node: spec.ID, Incarnation: n.st.Incarnation, Reason: "from " + from.spec.ID + " to " + to.spec.ID})
	t.wake(n)
	if from.st.Phase != Running && to.st.Phase == Running && n.st.Phase == Idle && !n.retired() {
		t.begin(n, t.cause, t.chain, false)
	}
	if t.moded {
		t.remode(n)
	}
	t.refuse(in, OK, "")
}

// retired tells whether a node that is down is meant to be.
func (n *node) retired() bool {
	return n.st.Why == WhyTerminated || n.st.Why == WhyFinished || n.st.Why == WhyGaveUp
}

// movable tells why a node cannot move.
func (t *Tree) movable(n, to *node, name string) (why string, r Result) {
	switch {
	case n.parent == nil:
		return "the root cannot be moved", Invalid
	case to == nil || to.spec.Supervisor == nil:
		return "there is no supervisor " + name, NoSupervisor
	case n.st.Phase == Gone:
		return "", NotFound
	}
	for p := to; p != nil; p = p.parent {
		if p == n {
			return "supervisor " + name + " is part of it", Invalid
		}
	}
	if why := significance(n.spec, to.spec); why != "" {
		return why, Invalid
	}
	for _, p := range []*node{n.parent, to} {
		if p.op() != nil || p.st.Phase != Running && p.st.Phase != Idle {
			return "supervisor " + p.spec.ID + " is " + strings.ToLower(string(p.st.Phase)) + " or in the middle of a restart; try again when it is done", Busy
		}
	}
	switch {
	case n.st.Command != nil || n.st.Ended > 0 || n.st.Phase == Starting || n.st.Phase == Verifying || n.st.Phase == Stopping:
		return "it is " + string(n.st.Phase) + "; try again when that is done", Busy
	case (n.st.Phase.live() || n.st.Phase.delayed() || n.st.Phase == Claiming || n.st.Phase == Foreign) && to.st.Phase != Running:
		return "supervisor " + name + " is down", NoSupervisor
	}
	return "", OK
}
