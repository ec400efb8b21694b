package sim

import (
	"strconv"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/plan"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// request is an operator's, or a joining supervisor's, to have a file applied.
type request struct {
	file   *file
	source string
	// most is how many agents may be down for it at once; 0 leaves them.
	most int
	// joins is set where a supervisor offers the file that it comes with.
	joins bool
	// plan is the one that the operator has seen; tries counts attempts.
	plan  string
	tries int
	// planned is the decision that the plan followed.
	planned uint64
	// done learns the result, if it arrives.
	done func(r tree.Result)
}

// maxTries bounds the attempts to plan and apply between two other decisions.
const maxTries = 20

// theOperator is where the files come from that operators apply.
const theOperator = "operator:mistersmith.yaml"

// applyEdited has an operator edit the file in force and apply it.
func (w *world) applyEdited(f Fault) {
	now := w.inForce()
	if now == nil {
		return
	}
	w.apply(w.edited(now, f), f.Count, f.Looks)
}

// apply has an operator apply a file, and look at the plan before if asked to.
func (w *world) apply(f *file, most int, looks bool) {
	s := w.whoLeads()
	if s == nil {
		return
	}
	q := &request{file: f, source: theOperator, most: most, done: func(r tree.Result) {
		if r == tree.OK {
			w.acknowledged(f)
		}
	}}
	if !looks {
		s.sendOwn(func() { s.apply(q) })
		return
	}
	s.sendOwn(func() {
		s.between(func() {
			if p, _, objected := s.plan(q); !objected {
				q.plan = p
				s.w.after(s.r.between(0, time.Second), func() { s.sendOwn(func() { s.apply(q) }) })
			}
		})
	})
}

// whoLeads is a supervisor that answers operators, or nil.
func (w *world) whoLeads() *supervisor {
	for _, s := range w.supervisors {
		if s.mode == leading {
			return s
		}
	}
	return nil
}

// sendOwn sends the supervisor something that only its present life is told.
func (s *supervisor) sendOwn(do func()) { s.send(&s.r, s.own(do)) }

// between does something between two decisions.
func (s *supervisor) between(do func()) {
	switch {
	case s.mode != leading:
	case s.busy:
		s.after(2*time.Millisecond, func() { s.between(do) })
	default:
		do()
	}
}

// apply has a file decided upon, as the service does.
func (s *supervisor) apply(q *request) {
	s.between(func() {
		if q.joins && s.offered(q) {
			return
		}
		p, revision, objected := s.plan(q)
		if objected || q.plan != "" && q.plan != p {
			return // nothing is changed, and the operator is told why
		}
		in := s.configure(q.file, q.source, q.most)
		in.Revision = revision
		q.planned = s.leader.Number()
		s.confirm(func() {
			s.submitAnswered(in, q, func(e tree.Effect) {
				if q.tries++; e.Result == tree.Stale && q.tries < maxTries {
					s.after(0, func() { s.apply(q) })
					return
				}
				if q.done != nil {
					s.send(&s.r, func() { q.done(e.Result) })
				}
			})
		})
	})
}

// configure is the input that applies a file.
func (s *supervisor) configure(f *file, source string, most int) tree.Input {
	return tree.Input{
		Kind: tree.Configure, Specs: f.specs, Reason: "apply " + f.digest,
		Configuration: &tree.Configuration{Source: source, Digest: f.digest, MaxUnavailable: most},
	}
}

// plan tells what a request would change, and the revision that it holds for.
func (s *supervisor) plan(q *request) (digest string, revision uint64, objected bool) {
	p, objections, err := plan.Of(s.tree.Snapshot(), s.configure(q.file, q.source, q.most), s.wall())
	if err != nil {
		s.w.broken(Applied, "%s cannot plan: %v", s.name, err)
	}
	return p.Plan, s.tree.Revision(), err != nil || len(objections) > 0
}

// offered handles the file of a supervisor that joins: unless it was edited since
// it was read last, it is only remembered.
func (s *supervisor) offered(q *request) bool {
	if s.tree.Configured().Consider(q.source, q.file.digest, tree.Joins) == tree.Take {
		return false
	}
	s.post(arrival{Input: tree.Input{
		Kind: tree.Configure, Keep: true, Reason: "a supervisor joins with its file",
		Configuration: &tree.Configuration{Source: q.source, Digest: q.file.digest},
	}})
	return true
}

// submitAnswered posts an input and lets the tree's answer be known.
func (s *supervisor) submitAnswered(in tree.Input, q *request, then func(tree.Effect)) {
	if s.asked == nil {
		s.asked = map[string]func(tree.Effect){}
	}
	s.w.tokens++
	in.Token = "apply-" + strconv.Itoa(s.w.tokens)
	in.Chain = in.Token
	s.asked[in.Token], s.w.requests[in.Token] = then, q
	s.post(arrival{Input: in})
}

// answer tells those who wait what was decided of what they asked for.
func (s *supervisor) answer(effects []tree.Effect) {
	for _, e := range effects {
		if then := s.asked[e.Token]; e.Kind == tree.DoReply && then != nil {
			delete(s.asked, e.Token)
			then(e)
		}
	}
}

// source is the name of a supervisor's own file.
func (s *supervisor) source() string { return s.name + ":mistersmith.yaml" }

// openingToken tells the answer to it apart.
const openingToken = "opening"

// opening is the input that taking over ends with: the own file where it is to be
// applied, else what the log says is kept.
func (s *supervisor) opening(t *tree.Tree) tree.Input {
	in := tree.Input{Kind: tree.Configure, Token: openingToken, Boot: true, Reason: "configuration read"}
	if !s.w.Releases {
		in.Specs = s.w.config.specs
		return in
	}
	offer := tree.Take
	if t.Root() != "" {
		offer = t.Configured().Consider(s.source(), s.file.digest, s.standing)
	}
	switch offer {
	case tree.Take, tree.Same:
		in.Specs, in.Configuration = s.file.specs, &tree.Configuration{Source: s.source(), Digest: s.file.digest}
		if offer == tree.Take {
			in.Configuration.MaxUnavailable = 1
		}
		return in
	}
	in.Keep, in.Reason = true, "the configuration in force is kept"
	if s.standing == tree.StartsUp {
		in.Configuration = &tree.Configuration{Source: s.source(), Digest: s.file.digest}
	}
	return in
}

// configured acts on what became of the configuration that taking over ended with: one
// that cannot be applied now is applied later, and one that cannot be at all ends
// the process, whose operator takes the file back. It reports whether the process
// goes on.
func (s *supervisor) configured(b *leader.Batch) bool {
	for _, e := range b.Effects {
		switch {
		case !s.w.Releases || e.Kind != tree.DoReply || e.Token != openingToken || e.Result == tree.OK:
		case e.Result == tree.Busy:
			s.post(arrival{Input: tree.Input{Kind: tree.Configure, Keep: true, Boot: true, Reason: "the configuration in force is kept for now"}})
			s.postponed(s.file)
			return true
		default:
			if now := s.w.inForce(); now != nil {
				s.w.config = now
			}
			s.crash(time.Second)
			return false
		}
	}
	return true
}

// postponed tries to apply the own file until what is under way is done.
func (s *supervisor) postponed(f *file) {
	s.after(time.Second, func() {
		again := func(r tree.Result) {
			if r == tree.Busy {
				s.postponed(f)
			}
		}
		if s.mode != leading {
			s.postponed(f)
			return
		}
		for _, o := range s.tree.Objections(f.specs) {
			if o.Later {
				s.postponed(f)
				return
			}
		}
		s.apply(&request{file: f, source: s.source(), most: 1, done: s.owned(again)})
	})
}

// owned is a result that only the present life is told.
func (s *supervisor) owned(then func(tree.Result)) func(tree.Result) {
	own := s.owner()
	return func(r tree.Result) { own(func() { then(r) })() }
}

// join offers the own file to the supervisor that decides.
func (s *supervisor) join() {
	s.standing = tree.TakesOver
	if !s.w.Releases {
		return
	}
	offered := s.file
	s.after(s.r.between(time.Millisecond, time.Second), func() {
		if to := s.w.whoLeads(); to != nil {
			// What a process sent that has ended since is lost with it.
			s.send(&s.r, s.own(func() {
				to.sendOwn(func() { to.apply(&request{file: offered, source: s.source(), most: 1, joins: true}) })
			}))
		}
	})
}
