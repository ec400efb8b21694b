// Package rehearsal decides again what was decided, under another
// configuration, and sets the two side by side. It is pure and deterministic:
// the same record and configuration always give the same report.
//
// As long as the rehearsed tree orders exactly what the recorded one ordered,
// the recorded inputs are what would have come, at the time they came: they are
// fed as they are. From the first decision that differs, the world is inferred
// from the record, by one rule: incarnation n of an agent fares as incarnation
// n fared in the record, counted from its start. So an exit that was recorded
// 200 ms after the start of incarnation 3 comes 200 ms after the start of
// incarnation 3, whenever that is, and never if there is no incarnation 3.
// What operators and runners did stays at its time. What the record cannot
// tell is assumed, and counted in the report:
//
//   - an incarnation that the record does not have starts as the agent's last
//     recorded start did, and runs on, or ends as the last one that ended by
//     itself did ([Options].Repeat);
//   - an incarnation that was stopped in the record and is not in the rehearsal
//     runs on;
//   - a stop takes as long as it took in the record, or as another of the same
//     agent took, or no time.
//
// What the supervisor did not listen to is not in the record: an agent that did
// not beat within the recorded start deadline never beats in that incarnation,
// and commands that a configuration changes are taken to behave as the old ones.
package rehearsal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Errors of rehearsals.
var (
	// ErrRecord: the record lacks what a rehearsal needs.
	ErrRecord = errors.New("the record cannot be rehearsed")
	// ErrConfig: the configuration cannot take the place of the recorded one.
	ErrConfig = errors.New("the configuration cannot take the place of the one then")
	// ErrEndless: the rehearsed tree restarts without end and without delay.
	ErrEndless = errors.New("the rehearsed tree restarts without end and without delay")
)

// Record is a part of a tree's past.
type Record struct {
	// Tree is the tree before the first decision, at From, and Runners those
	// it knew then.
	Tree     tree.Snapshot
	Runners  []tree.Runner
	From, To tree.Instant
	Past     []*decisionlog.Decision
}

// Options say what is rehearsed.
type Options struct {
	// Specs are the other configured tree, parents first.
	Specs []*tree.Spec
	// Repeat lets starts that have no counterpart in the record end as the
	// agent's last recorded incarnation did.
	Repeat bool
}

// Run rehearses. The reply's Tree, From and To are left to the caller.
func Run(rec Record, opt Options) (contracts.RehearseReply, error) {
	r, err := newRun(rec, opt)
	if err != nil {
		return contracts.RehearseReply{}, err
	}
	if err := r.run(); err != nil {
		return contracts.RehearseReply{}, err
	}
	return r.report(), nil
}

// run is a rehearsal in progress.
type run struct {
	rec Record
	opt Options
	// base decides on the record under the recorded configuration, alt under
	// the other. fold is the tree as recorded, without histories.
	base, alt *tree.Tree
	fold      tree.Snapshot
	// recorded and rehearsed measure the two sides.
	recorded, rehearsed *meter
	reply               contracts.RehearseReply
	// world stands in for what was not recorded, from the first difference on.
	world *world
}

func newRun(rec Record, opt Options) (*run, error) {
	r := &run{rec: rec, opt: opt, fold: bare(rec.Tree), recorded: newMeter(rec.Tree, rec.From), rehearsed: newMeter(rec.Tree, rec.From)}
	r.reply = contracts.RehearseReply{Faithful: true, Decisions: len(rec.Past)}
	var err error
	if r.base, err = r.load(rec.Tree); err != nil {
		return nil, err
	}
	if r.alt, err = r.load(rec.Tree); err != nil {
		return nil, err
	}
	r.world = newWorld(rec, opt.Repeat)
	return r, nil
}

func (r *run) load(s tree.Snapshot) (*tree.Tree, error) {
	t, err := tree.Load(tree.Options{}, s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	t.KnowRunners(r.rec.Runners)
	return t, nil
}

// bare copies a snapshot without histories.
func bare(s tree.Snapshot) tree.Snapshot {
	out := tree.Snapshot{Nodes: map[string]*tree.Record{}, Tombstones: maps.Clone(s.Tombstones)}
	for id, n := range s.Nodes {
		out.Nodes[id] = &tree.Record{Spec: n.Spec, State: n.State}
	}
	return out
}

func (r *run) run() error {
	together, err := r.reconfigure()
	if err != nil {
		return err
	}
	next := 0
	for ; together && next < len(r.rec.Past); next++ {
		d := r.rec.Past[next]
		if together = r.ticksBefore(d.At); !together {
			break
		}
		if together, err = r.both(d); err != nil {
			return err
		}
	}
	if together {
		together = r.ticksBefore(r.rec.To + 1)
	}
	for i := next; i < len(r.rec.Past); i++ {
		r.observe(r.rec.Past[i])
		if err := r.check(r.rec.Past[i]); err != nil {
			return err
		}
	}
	r.recorded.end(r.rec.To)
	if !together {
		if err := r.alone(next); err != nil {
			return err
		}
	}
	r.rehearsed.end(r.rec.To)
	return nil
}

// reconfigure gives the tree at the beginning the other configuration, and
// reports whether that led to nothing.
func (r *run) reconfigure() (same bool, err error) {
	if r.alt.Len() == 0 {
		return true, nil
	}
	in := tree.Input{Kind: tree.Configure, Specs: r.opt.Specs}
	effects, err := r.stepAlt(&in, r.rec.From)
	if err != nil {
		return false, err
	}
	if diff := difference(nil, effects); diff != nil {
		diff.At, diff.Inputs = r.rec.From.Time(), []string{"the other configuration takes effect"}
		r.reply.First = diff
		return false, nil
	}
	return true, nil
}

// ticksBefore lets the rehearsed tree act on timers that the recorded one does
// not have, and reports whether nothing came of them.
func (r *run) ticksBefore(end tree.Instant) (same bool) {
	for {
		due, ok := r.alt.Next()
		if !ok || due >= end {
			return true
		}
		if other, ok := r.base.Next(); ok && other <= due {
			return true
		}
		effects, _ := r.stepAlt(&tree.Input{Kind: tree.Tick}, due) // only configuring fails
		if diff := difference(nil, effects); diff != nil {
			diff.At, diff.Inputs = due.Time(), []string{"timer"}
			r.reply.First = diff
			return false
		}
	}
}

// both decides on a recorded decision's inputs under either configuration, and
// reports whether the same came of it.
func (r *run) both(d *decisionlog.Decision) (same bool, err error) {
	r.observe(d)
	var base, alt []tree.Effect
	r.base.Deciding(d.ID)
	r.alt.Deciding(d.ID)
	for i := range d.Inputs {
		in, takeover, err := r.input(d, i)
		if err != nil {
			return false, err
		}
		if takeover {
			if err := cmp.Or(r.reload(), r.reloadAlt()); err != nil {
				return false, err
			}
			continue
		}
		base = r.base.Step(&in, d.At, base)
		out, err := r.stepAlt(r.under(in), d.At)
		if err != nil {
			return false, err
		}
		alt = append(alt, out...)
	}
	faithful := r.faithful(d, base)
	if diff := difference(base, alt); diff != nil {
		diff.At, diff.Decision, diff.Sequence = d.At.Time(), d.Number, d.Sequence
		for _, in := range d.Inputs {
			diff.Inputs = append(diff.Inputs, said(in))
		}
		r.reply.First = diff
		return false, nil
	}
	return faithful, nil
}

// check decides on a recorded decision once more under its own configuration
// only.
func (r *run) check(d *decisionlog.Decision) error {
	if !r.reply.Faithful {
		return nil
	}
	var effects []tree.Effect
	r.base.Deciding(d.ID)
	for i := range d.Inputs {
		in, takeover, err := r.input(d, i)
		if err != nil {
			return err
		}
		if takeover {
			if err := r.reload(); err != nil {
				return err
			}
			continue
		}
		effects = r.base.Step(&in, d.At, effects)
	}
	r.faithful(d, effects)
	return nil
}

// reload does to the recorded tree what a change of supervisor does, reloadAlt to the
// rehearsed one.
func (r *run) reload() (err error) {
	r.base, err = reloaded(r.base)
	return err
}

func (r *run) reloadAlt() (err error) {
	r.rehearsed.apply(r.alt.Changes(nil), r.rehearsed.now)
	r.alt, err = reloaded(r.alt)
	return err
}

func reloaded(t *tree.Tree) (*tree.Tree, error) {
	again, err := tree.Load(tree.Options{}, t.Snapshot())
	if err != nil {
		return t, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return again, nil
}

// input returns a decision's input, a configuration with the specs that the
// recorded tree has after it.
func (r *run) input(d *decisionlog.Decision, i int) (in tree.Input, takeover bool, err error) {
	if d.Inputs[i].Kind == decisionlog.Takeover {
		return in, true, nil
	}
	if in, err = decisionlog.ReadInput(d.Inputs[i]); err != nil {
		return in, false, fmt.Errorf("%w: decision %d: %w; choose a later beginning", ErrRecord, d.Number, err)
	}
	if in.Kind == tree.Configure {
		in.Specs = configured(r.fold)
	}
	return in, false, nil
}

// under returns an input as it is under the other configuration.
func (r *run) under(in tree.Input) *tree.Input {
	if in.Kind == tree.Configure {
		in.Specs = r.opt.Specs
	}
	return &in
}

// observe takes a recorded decision into the recorded side.
func (r *run) observe(d *decisionlog.Decision) {
	for _, c := range d.Changes {
		c.Failures, c.Restarts = nil, nil
		r.fold.Apply(c)
	}
	for _, e := range d.Effects {
		r.recorded.count(decisionlog.EffectKind(e.Kind), e.Node)
	}
	r.recorded.apply(d.Changes, d.At)
}

// stepAlt takes one step of the rehearsed tree.
func (r *run) stepAlt(in *tree.Input, now tree.Instant) ([]tree.Effect, error) {
	effects := r.alt.Step(in, now, nil)
	for _, e := range effects {
		r.rehearsed.count(e.Kind, e.Node)
		if in.Kind == tree.Configure && e.Refuses() {
			return nil, fmt.Errorf("%w: %s", ErrConfig, e.Reason)
		}
	}
	r.rehearsed.apply(r.alt.Changes(nil), now)
	r.world.ordered(effects, now)
	return effects, nil
}

// faithful compares what came of a decision's inputs with what was recorded.
func (r *run) faithful(d *decisionlog.Decision, effects []tree.Effect) bool {
	same := sameChanges(d.Changes, r.base.Changes(nil)) && sameEffects(d.Effects, effects)
	if !same && r.reply.Faithful {
		r.reply.Faithful, r.reply.Deviation = false, d.Number
	}
	return same
}

// configured returns the configured part of a tree, parents first, in order.
func configured(s tree.Snapshot) []*tree.Spec {
	kids := map[string][]*tree.Record{}
	for _, n := range s.Nodes {
		kids[n.Spec.Parent] = append(kids[n.Spec.Parent], n)
	}
	var out []*tree.Spec
	var walk func(parent string)
	walk = func(parent string) {
		of := kids[parent]
		slices.SortFunc(of, func(a, b *tree.Record) int {
			return cmp.Or(cmp.Compare(a.Spec.Rank, b.Spec.Rank), cmp.Compare(a.Spec.ID, b.Spec.ID))
		})
		for _, n := range of {
			if n.Spec.Dynamic || n.State.Discarded() {
				continue
			}
			spec := *n.Spec
			spec.Rank = 0
			out = append(out, &spec)
			walk(spec.ID)
		}
	}
	walk("")
	return out
}
