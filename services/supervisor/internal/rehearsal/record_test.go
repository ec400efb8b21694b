package rehearsal

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/backoff"
	"github.com/mistersmith/mistersmith/internal/property"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

const epoch = tree.Instant(1_700_000_000_000_000_000)

// scene is a fleet whose decisions are recorded as the supervisor records them.
type scene struct {
	t     testing.TB
	specs []*tree.Spec
	tree  *tree.Tree
	now   tree.Instant
	log   []*decisionlog.Decision
	// inbox holds what will come.
	inbox []timed
	// fail tells how an incarnation ends, after how long; nil or 0: never.
	fail func(agent string, incarnation uint64) (after time.Duration, in tree.Input)
	live map[string]uint64
	// late is by how much timers go off too late.
	late time.Duration
}

type timed struct {
	at tree.Instant
	in tree.Input
}

const (
	startTakes = 20 * time.Millisecond
	beatTakes  = 30 * time.Millisecond
	stopTakes  = 40 * time.Millisecond
)

func newScene(t testing.TB, specs []*tree.Spec, fail func(string, uint64) (time.Duration, tree.Input)) *scene {
	s := &scene{t: t, fail: fail, specs: specs, tree: tree.New(tree.Options{}), now: epoch, live: map[string]uint64{}, late: time.Millisecond}
	s.takeOver()
	return s
}

// takeOver changes the supervisor: all but the log is forgotten.
func (s *scene) takeOver() {
	if len(s.log) > 0 {
		s.tree.Changes(nil)
		var err error
		if s.tree, err = tree.Load(tree.Options{}, s.state(len(s.log)).Tree); err != nil {
			s.t.Fatal(err)
		}
	}
	s.append(&decisionlog.Decision{Inputs: []contracts.DecisionInput{{Kind: decisionlog.Takeover, At: s.now.Time()}}})
	s.step(tree.Input{Kind: tree.Configure, Specs: s.specs, Boot: true})
	s.step(tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r1"}, {Name: "r2"}}})
}

func (s *scene) append(d *decisionlog.Decision) {
	d.Number, d.At, d.Sequence = uint64(len(s.log)+1), s.now, uint64(2*len(s.log)+2)
	if d.ID == "" {
		d.ID = fmt.Sprintf("d%d", d.Number)
	}
	s.log = append(s.log, d)
}

// step has an input decided and recorded.
func (s *scene) step(ins ...tree.Input) {
	d := &decisionlog.Decision{ID: fmt.Sprintf("d%d", len(s.log)+1)}
	s.tree.Deciding(d.ID)
	var all []tree.Effect
	for _, in := range ins {
		before := s.tree.Revision()
		effects := s.tree.Step(&in, s.now, nil)
		if s.tree.Revision() == before && len(effects) == 0 && in.Kind != tree.Runners {
			continue
		}
		rec, err := decisionlog.WriteInput(in)
		if err != nil {
			s.t.Fatal(err)
		}
		if rec.At.IsZero() {
			rec.At = s.now.Time()
		}
		d.Inputs = append(d.Inputs, rec)
		for _, e := range shown(effects) {
			out := contracts.DecisionEffect{Kind: decisionlog.EffectWord(e.Kind), Node: e.Node, Incarnation: e.Incarnation, Runner: e.Runner, Input: len(d.Inputs) - 1}
			if e.Due > 0 {
				due := e.Due.Time()
				out.Due = &due
			}
			d.Effects = append(d.Effects, out)
		}
		all = append(all, effects...)
	}
	for _, c := range s.tree.Changes(nil) {
		raw, err := json.Marshal(c)
		if err != nil {
			s.t.Fatal(err)
		}
		again := tree.Change{ID: c.ID}
		if err := json.Unmarshal(raw, &again); err != nil {
			s.t.Fatal(err)
		}
		d.Changes = append(d.Changes, again)
	}
	if len(d.Inputs) > 0 {
		s.append(d)
	}
	for _, e := range all {
		s.perform(e)
	}
}

func (s *scene) post(after time.Duration, in tree.Input) {
	s.inbox = append(s.inbox, timed{s.now.Add(after), in})
}

func (s *scene) perform(e tree.Effect) {
	in := tree.Input{Node: e.Node, Incarnation: e.Incarnation, Event: fmt.Sprintf("%s-%d-%s", e.Node, e.Incarnation, e.Kind)}
	switch e.Kind {
	case tree.DoStart:
		after, end := time.Duration(0), tree.Input{}
		if s.fail != nil {
			after, end = s.fail(e.Node, e.Incarnation)
		}
		end.Node, end.Incarnation, end.Event = in.Node, in.Incarnation, in.Event
		if end.Kind == tree.StartFailed {
			s.post(after, end)
			return
		}
		s.live[e.Node] = e.Incarnation
		in.Kind, in.PID = tree.Started, 7
		s.post(startTakes, in)
		s.post(beatTakes, tree.Input{Kind: tree.Beat, Node: e.Node, Incarnation: e.Incarnation})
		if end.Kind != "" {
			s.post(after, end)
		}
	case tree.DoStop:
		in.Kind = tree.Stopped
		s.post(stopTakes, in)
	case tree.DoReport:
		in.Kind, in.Reason = tree.Failed, "unverified: "+e.Reason
		s.post(time.Millisecond, in)
	}
}

// alive reports whether an input can still come: what has ended sends nothing.
func (s *scene) alive(in tree.Input) bool {
	switch in.Kind {
	case tree.Started, tree.Beat, tree.Exited:
		return s.live[in.Node] == in.Incarnation
	}
	return true
}

// next lets the next thing happen, up to a time.
func (s *scene) next(until tree.Instant) bool {
	first := -1
	for i, m := range s.inbox {
		if first < 0 || m.at < s.inbox[first].at {
			first = i
		}
	}
	due, ok := s.tree.Next()
	if ok && (first < 0 || due < s.inbox[first].at) {
		if due.Add(s.late) > until {
			return false
		}
		s.now = max(s.now, due.Add(s.late))
		s.step(tree.Input{Kind: tree.Tick})
		return true
	}
	if first < 0 || s.inbox[first].at > until {
		return false
	}
	m := s.inbox[first]
	s.inbox = slices.Delete(s.inbox, first, first+1)
	s.now = max(s.now, m.at)
	if !s.alive(m.in) {
		return true
	}
	switch m.in.Kind {
	case tree.Exited, tree.Stopped:
		delete(s.live, m.in.Node)
	}
	m.in.At = s.now
	s.step(m.in)
	return true
}

// play lets time pass.
func (s *scene) play(d time.Duration) {
	until := s.now.Add(d)
	for s.next(until) {
	}
	s.now = until
}

// state returns the record from decision n on.
func (s *scene) state(n int) Record {
	rec := Record{From: epoch, To: s.now}
	for _, d := range s.log[:n] {
		rec.From = d.At
		for _, in := range d.Inputs {
			switch in.Kind {
			case decisionlog.Takeover:
				rec.Runners = nil
			case decisionlog.InputWord(tree.Runners):
				got, err := decisionlog.ReadInput(in)
				if err != nil {
					s.t.Fatal(err)
				}
				rec.Runners = got.Runners
			}
		}
		for _, c := range d.Changes {
			rec.Tree.Apply(c)
		}
	}
	rec.Past = s.log[n:]
	return rec
}

func group(id string, strategy tree.Strategy, most int, kids ...string) []*tree.Spec {
	out := []*tree.Spec{{
		ID: id, Parent: "root", Restart: tree.Permanent,
		Supervisor: &tree.Supervisor{Strategy: strategy, MaxRestarts: most, Period: time.Minute},
	}}
	for _, k := range kids {
		out = append(out, &tree.Spec{
			ID: k, Parent: id, Restart: tree.Permanent, Backoff: backoff.Delays{Delay: 100 * time.Millisecond},
			Agent: &tree.Agent{Runner: tree.AnyRunner, Verify: true, StartDeadline: time.Second, Stabilisation: 50 * time.Millisecond},
		})
	}
	return out
}

func forest(groups ...[]*tree.Spec) []*tree.Spec {
	return append([]*tree.Spec{{ID: "root", Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 3, Period: time.Minute}}},
		slices.Concat(groups...)...)
}

// TestSameConfiguration rehearses random runs (exits, verdicts, starts that
// fail, silence, operators' orders, changes of supervisor) from random times
// under the configuration they had: what comes of it is what was recorded, to
// the last byte.
func TestSameConfiguration(t *testing.T) {
	t.Parallel()
	property.Check(t, func(rt *rapid.T) {
		draw := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, name) }
		strategies := []tree.Strategy{tree.OneForOne, tree.OneForAll, tree.RestForOne, tree.Escalate}
		policies := []tree.Escalation{tree.ToParent, tree.Terminate, tree.CoolOff, tree.Ignore}
		kinds := []tree.Restart{tree.Permanent, tree.Transient, tree.Temporary}
		specs := forest(group("g", strategies[draw("strategy", 4)], draw("most", 3), "a", "b", "c"), group("h", strategies[draw("strategy", 4)], 2, "d", "e"))
		for _, s := range specs[1:] {
			s.Restart = kinds[draw("restart", 3)]
			s.Backoff.Delay = time.Duration(draw("delay", 3)) * 70 * time.Millisecond
			if s.Supervisor != nil {
				s.Supervisor.Escalation, s.Supervisor.CoolOff = policies[draw("policy", 4)], time.Second
			}
		}
		allowance := func(name string) tree.Allowance {
			return tree.Allowance{Restarts: draw(name, 4), Per: time.Duration(1+draw(name+" per", 3)) * time.Second}
		}
		specs[0].Supervisor.Budget = &tree.Budget{Fleet: allowance("fleet"), Runner: allowance("runner")}
		s := newScene(t, specs, func(string, uint64) (time.Duration, tree.Input) {
			after := time.Duration(1+draw("after", 2000)) * time.Millisecond
			switch draw("end", 6) {
			case 0:
				return after, tree.Input{Kind: tree.StartFailed, Reason: "no such program"}
			case 1:
				return after, tree.Input{Kind: tree.Exited, Reason: "exited with code 1"}
			case 2:
				return after, tree.Input{Kind: tree.Exited, Normal: true}
			case 3:
				return after, tree.Input{Kind: tree.Failed, Reason: "heartbeat_timeout"}
			}
			return 0, tree.Input{}
		})
		full := draw("full", 2)
		for range 8 {
			s.play(time.Duration(draw("while", 700)) * time.Millisecond)
			switch draw("what", 5) {
			case 0:
				s.takeOver()
				for _, e := range s.tree.Outstanding() {
					s.perform(e)
				}
			case 1:
				node := []string{"a", "d", "g", "h"}[draw("node", 4)]
				s.step(tree.Input{Kind: tree.Order, Command: []tree.CommandKind{tree.CmdRestart, tree.CmdTerminate}[draw("order", 2)], Node: node, Token: fmt.Sprint(len(s.log))})
			case 2:
				s.step(tree.Input{Kind: tree.Runners, Runners: []tree.Runner{{Name: "r2", Capacity: 2 * full}}})
			}
		}
		from := draw("from", len(s.log))
		rec := s.state(from)
		rec.From += tree.Instant(draw("later", int((s.log[from].At-rec.From)/1e6)+1)) * 1e6
		same := configured(s.state(len(s.log)).Tree)
		if len(same) != len(specs) {
			rt.Fatalf("%d configured nodes come back, want %d", len(same), len(specs))
		}
		got, err := Run(rec, Options{Specs: specs})
		if err != nil {
			rt.Fatal(err)
		}
		if !got.Faithful || got.First != nil || got.Recorded != got.Rehearsed || got.Assumed != (contracts.RehearsalAssumed{}) {
			rt.Fatalf("%+v, first %+v", got, got.First)
		}
		for _, a := range got.Agents {
			if a.Recorded != a.Rehearsed {
				rt.Fatalf("%+v", a)
			}
		}
		restrategise := draw("other strategies", 2) > 0
		another(rt, rec, !restrategise, changed(specs, func(s *tree.Spec) {
			s.Backoff.Delay += time.Duration(draw("more delay", 3)) * 50 * time.Millisecond
			switch {
			case s.Parent == "":
				s.Supervisor.Budget = &tree.Budget{Fleet: allowance("other fleet"), Runner: allowance("other runner")}
			case s.Supervisor != nil:
				s.Supervisor.MaxRestarts = draw("other most", 9)
				if restrategise {
					s.Supervisor.Strategy = strategies[draw("other strategy", 4)]
				}
			}
		}), got)
	})
}

// another rehearses under any other configuration: that ends, is the same each
// time, leaves the recorded side as it is, and differs only after a decision
// that differs: but for what an agent that is down waits for, and, under another
// strategy, whether one that has finished is to come back with its group.
func another(rt *rapid.T, rec Record, sameStrategies bool, specs []*tree.Spec, same contracts.RehearseReply) {
	opt := Options{Specs: specs, Repeat: rapid.Bool().Draw(rt, "repeat")}
	var last string
	for range 2 {
		got, err := Run(rec, opt)
		if errors.Is(err, ErrEndless) && opt.Repeat {
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		if !got.Faithful || got.Recorded != same.Recorded {
			rt.Fatalf("recorded %+v, by itself %+v", got.Recorded, same.Recorded)
		}
		rehearsed := got.Rehearsed
		rehearsed.Waiting, rehearsed.BudgetWaited = same.Rehearsed.Waiting, same.Rehearsed.BudgetWaited
		if !sameStrategies {
			rehearsed.Downtime, rehearsed.Down = same.Rehearsed.Downtime, same.Rehearsed.Down
		}
		if got.First == nil && (rehearsed != same.Rehearsed || got.Assumed != (contracts.RehearsalAssumed{})) {
			rt.Fatalf("no decision differs, but %+v is not %+v; assumed %+v", got.Rehearsed, same.Rehearsed, got.Assumed)
		}
		span := contracts.Duration(rec.To - rec.From)
		for _, a := range got.Agents {
			if d := a.Rehearsed; d.Downtime < 0 || d.Downtime > span || d.Waiting > d.Downtime || d.BudgetWaited > d.Waiting || d.BudgetWaits == 0 && d.BudgetWaited > 0 {
				rt.Fatalf("within %s: %+v", span.D(), a)
			}
		}
		if n := got.Assumed; n.Dropped < 0 {
			rt.Fatalf("%+v", n)
		}
		raw, err := json.Marshal(got)
		if err != nil {
			rt.Fatal(err)
		}
		if last != "" && last != string(raw) {
			rt.Fatalf("not deterministic:\n%s\n%s", last, raw)
		}
		last = string(raw)
	}
}
