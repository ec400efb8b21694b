package tree

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sort"
)

// ValidateTree reports everything that is wrong with a configured tree: the
// specs of all its nodes, parents first, the root among them.
func ValidateTree(specs []*Spec) error {
	var errs []error
	byID := map[string]*Spec{}
	roots := 0
	for _, s := range specs {
		errs = append(errs, s.Validate())
		if byID[s.ID] != nil {
			errs = append(errs, fmt.Errorf("%w %q: there is another of that name", ErrSpec, s.ID))
			continue
		}
		byID[s.ID] = s
		if s.Parent == "" {
			if roots++; roots > 1 || s.Supervisor == nil {
				errs = append(errs, fmt.Errorf("%w %q: a tree has one root, a supervisor", ErrSpec, s.ID))
			}
			continue
		}
		p := byID[s.Parent]
		if p == nil || p.Supervisor == nil {
			errs = append(errs, fmt.Errorf("%w %q: there is no supervisor %q before it", ErrSpec, s.ID, s.Parent))
			continue
		}
		if why := significance(s, p); why != "" {
			errs = append(errs, fmt.Errorf("%w %q: %s", ErrSpec, s.ID, why))
		}
	}
	if roots == 0 {
		errs = append(errs, fmt.Errorf("%w: a tree needs a root", ErrSpec))
	}
	return errors.Join(errs...)
}

// Refuses reports whether an effect refuses a configuration. Orders are about a node,
// and one that the configuration supersedes is answered, too.
func (e *Effect) Refuses() bool { return e.Kind == DoReply && e.Node == "" && e.Result != OK }

// errBusy marks what cannot be configured now and can be soon.
var errBusy = errors.New("try again when that is done")

// configure makes the tree the configured one: what is the same runs on, what
// is new is added and started, what is gone is stopped and removed, what is
// under another supervisor moves without a restart. What else changed takes
// effect at once, or with the next start where a process cannot take it on;
// the configuration may ask for those restarts. What was added at run time
// stays.
func (t *Tree) configure(in *Input) {
	if in.Keep {
		t.keep(in)
		return
	}
	if in.Revision > 0 && in.Revision != t.Revision() {
		t.reply(in, Stale, "it has changed meanwhile")
		return
	}
	specs, scales := t.scaled(in.Specs)
	if err := t.configurable(specs); err != nil {
		r := Invalid
		if errors.Is(err, errBusy) {
			r = Busy
		}
		t.reply(in, r, err.Error())
		return
	}
	ends, rolled := t.waitingEnds(), t.rolledOut()
	t.keepScales(scales)
	budget := t.budget()
	back := t.goingBack(specs)
	unplaced := t.unplacedSpecs()
	requested := t.endedByRequest()
	fresh, waited := t.install(specs)
	if t.hasModes {
		t.applyModes(t.root)
		t.listenAgain() // whoever takes over has heard nothing yet
	}
	wanted := make(map[string]bool, len(specs))
	for _, s := range specs {
		wanted[s.ID] = true
	}
	t.removeUnwanted(wanted)
	t.succeed(fresh)
	t.startTree(in)
	due := t.rejudge(ends)
	t.placeAgain(unplaced)
	for _, n := range fresh {
		if p := n.parent; p != nil && n.st.Phase == Idle && !n.st.End.final() && p.up() && !t.willStart(p, n) {
			t.bringUp(n, t.story)
		}
	}
	fresh = append(fresh, t.reconsider(requested)...)
	if !reflect.DeepEqual(t.budget(), budget) {
		t.release()
	}
	t.configuredBy(in.Configuration, true)
	if in.Boot {
		fresh, back = nil, nil // nobody waits for all of a tree that starts
	}
	t.reply(in, OK, t.rollOut(rolled, waited, slices.Concat(fresh, back, t.tryNow(due, waited)), in))
}

// keep is a supervisor's beginning that leaves the configuration as it is.
func (t *Tree) keep(in *Input) {
	if t.root == nil {
		t.reply(in, Invalid, "the tree is empty; there is no configuration to keep")
		return
	}
	t.listenAgain()
	t.startTree(in)
	t.configuredBy(in.Configuration, false)
	t.reply(in, OK, "")
}

// startTree starts a tree that is down, if it is to be and no operator has stopped it.
// It goes on where it was: what had finished before its process was stopped is not
// done again.
func (t *Tree) startTree(in *Input) {
	switch root := t.root; {
	case !in.Boot:
	case root.st.Phase == Idle && t.unhold(root):
	case root.st.Phase == Idle && !t.staysDown(root):
		t.resume(root, t.story)
	case root.st.Phase == Stopping && root.st.Then == ThenClose:
		t.answerWith(root, Superseded, "another start of the service")
		t.turnBack(root, t.story)
	}
}

// resume starts a node because the supervisor's process does.
func (t *Tree) resume(n *node, because Story) {
	was := t.resuming
	t.resuming = true
	t.begin(n, because, false)
	t.resuming = was
}

// install gives every node its configured specification and place. It returns
// those that may have to be started, the new and the moved, and those that have no
// process and are another program now, or the supervisors that wait because of them:
// what they failed of may be mended.
func (t *Tree) install(specs []*Spec) (fresh, waited []*node) {
	order := map[string][]*node{}
	for _, s := range specs {
		n := t.nodes[s.ID]
		switch {
		case n == nil:
			spec := *s
			// Last for now: ranks are settled below.
			spec.Dynamic, spec.Rank = false, math.MaxInt64
			n = t.insert(&spec)
			n.st.After = forever // until it is known what is removed
			fresh = append(fresh, n)
		case n.st.Discarded():
			t.readmit(n)
			t.respecify(n, s)
		case n.leaves(s):
			if t.relocate(n, t.nodes[s.Parent]) {
				fresh = append(fresh, n)
			}
			t.respecify(n, s)
		default:
			former := n.spec
			if t.respecify(n, s); n.rebuilt(former) && !n.ordered() {
				if w := n.waitsFor(); w == n || !slices.Contains(waited, w) {
					waited = append(waited, w)
				}
			}
		}
		if n.parent == nil || n.spec.Parent == s.Parent {
			order[s.Parent] = append(order[s.Parent], n)
		}
	}
	for _, s := range specs {
		if s.Supervisor != nil {
			t.arrange(t.nodes[s.ID], order[s.ID])
		}
	}
	return fresh, waited
}

// Objection says why the tree cannot be configured as asked, because of one node.
type Objection struct {
	Node, Why string
	// Later is set where it can be when what is under way is done.
	Later bool
}

// Error gives it as a sentence.
func (o Objection) Error() string {
	if o.Later {
		return fmt.Sprintf("%q: %s; %s", o.Node, o.Why, errBusy)
	}
	return fmt.Sprintf("%s %q: %s", ErrSpec, o.Node, o.Why)
}

// Unwrap tells objections apart.
func (o Objection) Unwrap() error {
	if o.Later {
		return errBusy
	}
	return ErrSpec
}

// configurable reports why the tree cannot become the configured one.
func (t *Tree) configurable(specs []*Spec) error {
	if err := ValidateTree(specs); err != nil {
		return err
	}
	var errs, busy []error
	for _, o := range t.objections(specs) {
		if o.Later {
			busy = append(busy, o)
		} else {
			errs = append(errs, o)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return errors.Join(busy...)
}

// Objections lists what keeps the tree from becoming the one configured by
// valid specifications.
func (t *Tree) Objections(specs []*Spec) []Objection {
	specs, _ = t.scaled(specs)
	return t.objections(specs)
}

func (t *Tree) objections(specs []*Spec) []Objection {
	var out []Objection
	listed := make(map[string]*Spec, len(specs))
	for _, s := range specs {
		listed[s.ID] = s
	}
	for _, s := range specs {
		no := func(format string, args ...any) {
			out = append(out, Objection{Node: s.ID, Why: fmt.Sprintf(format, args...)})
		}
		n := t.nodes[s.ID]
		switch {
		case n == nil && s.Parent == "" && t.root != nil:
			no("the tree's root is %q", t.root.spec.ID)
		case n == nil:
		case (n.spec.Supervisor == nil) != (s.Supervisor == nil):
			no("an agent cannot become a supervisor nor the reverse; use another name")
		case n.leaves(s):
			if why, r := t.relocatable(n, s.Parent, listed); r == Busy {
				out = append(out, Objection{s.ID, fmt.Sprintf("it cannot move to %q now: %s", s.Parent, why), true})
			} else if r != OK {
				no("it cannot move to %q: %s", s.Parent, why)
			}
		case n.spec.Origin != "" && listed[n.spec.Parent] == nil && !n.parent.spec.Dynamic:
			no("it was moved under %q, which is to be removed; move it elsewhere first", n.spec.Parent)
		}
	}
	return out
}

// respecify gives a node its configured spec, if that is another.
func (t *Tree) respecify(n *node, s *Spec) {
	spec := *s
	spec.Dynamic, spec.Rank = false, n.spec.Rank
	if spec.Parent != n.spec.Parent {
		spec.Parent, spec.Origin = n.spec.Parent, s.Parent
	}
	if !reflect.DeepEqual(&spec, n.spec) {
		former := n.spec
		n.spec = &spec
		t.mark(n, dirtyState|dirtySpec)
		t.keepMode(n)
		if spec.Origin == "" {
			t.forgetPlace(n)
		}
		t.compareBuilds(n, former)
	}
}

// removeUnwanted stops and removes configured nodes that are configured no more.
func (t *Tree) removeUnwanted(wanted map[string]bool) {
	var gone []*node
	for id, n := range t.nodes {
		if !n.spec.Dynamic && !wanted[id] && (n.parent == nil || n.parent.spec.Dynamic || wanted[n.parent.spec.ID]) {
			gone = append(gone, n)
		}
	}
	sort.Slice(gone, func(i, j int) bool { return gone[i].spec.ID > gone[j].spec.ID })
	t.discard(gone)
}

// insertChild and abandon keep the children in order.
func (p *node) insertChild(c *node) {
	i := sort.Search(len(p.kids), func(i int) bool { return p.kids[i].spec.Rank > c.spec.Rank })
	p.kids = slices.Insert(p.kids, i, c)
}

func (p *node) removeChild(c *node) {
	i := sort.Search(len(p.kids), func(i int) bool { return p.kids[i].spec.Rank >= c.spec.Rank })
	if i < len(p.kids) && p.kids[i] == c {
		p.kids = slices.Delete(p.kids, i, i+1)
	}
}
