package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// ApplyConfig: an operator edits the configuration in force and has it applied.
const ApplyConfig FaultKind = "configuration is applied"

// Edit is what an operator changes in a file.
type Edit string

// Edits.
const (
	// Rebuild gives agents another command, Break one that never comes up.
	Rebuild Edit = "other builds"
	Break   Edit = "a build that never comes up"
	// Bring adds an agent or one that was left out, Leave leaves one out.
	Bring Edit = "an agent more"
	Leave Edit = "an agent less"
	// Shift puts an agent under another supervisor.
	Shift Edit = "an agent elsewhere"
	// Limit gives a supervisor another limit, escalation and cool-off.
	Limit Edit = "another limit"
	// Former takes the file back to what was in force before.
	Former Edit = "the former file"
)

// file is a configuration as an operator or a supervisor has it.
type file struct {
	digest string
	specs  []*tree.Spec
	// former is what it was made of.
	former *file
}

// broken begins the name of a build that never comes up.
const broken = "broken-"

// bad reports whether the file asks for a build that never comes up.
func (f *file) bad() bool {
	return slices.ContainsFunc(f.specs, func(s *tree.Spec) bool { return badBuild(s) })
}

func badBuild(s *tree.Spec) bool { return s.Agent != nil && strings.HasPrefix(s.Agent.Build, broken) }

// spec is the specification of a node, or nil.
func (f *file) spec(node string) *tree.Spec {
	if at := f.index(node); at >= 0 {
		return f.specs[at]
	}
	return nil
}

func (f *file) index(node string) int {
	return slices.IndexFunc(f.specs, func(s *tree.Spec) bool { return s.ID == node })
}

// edited is the next version of a file.
func (w *world) edited(f *file, fault Fault) *file {
	next := w.newFile(slices.Clone(f.specs), f)
	at := f.index(fault.Node)
	switch fault.Edit {
	case Rebuild:
		next.rebuild(fault.Node, next.digest)
	case Break:
		next.rebuild(fault.Node, broken+next.digest)
	case Bring:
		if spec := fault.Spec; f.index(spec.ID) < 0 {
			next.specs = append(next.specs, spec)
		}
	case Leave:
		if at >= 0 && next.specs[at].Agent != nil && next.specs[at].Template == "" {
			next.specs = slices.Delete(next.specs, at, at+1)
		}
	case Shift:
		if at >= 0 && next.specs[at].Agent != nil && next.specs[at].Template == "" {
			spec := changed(next.specs[at], func(c *tree.Spec) { c.Parent, c.Significant = fault.To, false })
			next.specs = append(slices.Delete(next.specs, at, at+1), spec) // behind its supervisor
		}
	case Limit:
		if at := f.index(fault.To); at >= 0 {
			spec, is := *next.specs[at], *next.specs[at].Supervisor
			like := fault.Spec.Supervisor
			is.MaxRestarts, is.Period, is.Escalation, is.CoolOff, is.MaxCoolOff = like.MaxRestarts, like.Period, like.Escalation, like.CoolOff, like.MaxCoolOff
			spec.Supervisor = &is
			onlyAlone(&is)
			next.specs[at] = &spec
		}
	case Former:
		if f.former != nil {
			next.specs = f.former.specs
		}
	}
	return next
}

// newFile is a file that nobody has seen yet.
func (w *world) newFile(specs []*tree.Spec, former *file) *file {
	f := &file{digest: strconv.Itoa(len(w.files) + 1), specs: specs, former: former}
	w.files[f.digest] = f
	return f
}

// rebuild gives an agent, all instances of its template, or all agents under a
// supervisor another build.
func (f *file) rebuild(node, build string) {
	template := ""
	if s := f.spec(node); s != nil {
		template = s.Template
	}
	for i, s := range f.specs {
		if s.Agent == nil || s.ID != node && s.Parent != node && (template == "" || s.Template != template) {
			continue
		}
		f.specs[i] = changed(s, func(c *tree.Spec) { c.Agent.Build = build })
	}
}

// changed returns a copy of a specification with a change. Files and scenarios share
// specifications.
func changed(s *tree.Spec, change func(*tree.Spec)) *tree.Spec {
	c := *s
	if c.Agent != nil {
		agent := *c.Agent
		c.Agent = &agent
	} else {
		supervisor := *c.Supervisor
		c.Supervisor = &supervisor
	}
	change(&c)
	return &c
}

// mended is a file without builds that never come up, for an operator that has
// seen what they did.
func (w *world) mended(f *file) *file {
	next := w.newFile(slices.Clone(f.specs), f)
	for i, s := range next.specs {
		if badBuild(s) {
			next.specs[i] = changed(s, func(c *tree.Spec) { c.Agent.Build = next.digest })
		}
	}
	return next
}

// release gives some scenarios operators that apply configurations and roll: with
// other builds, with agents more, less or elsewhere, several at once, at a takeover,
// and with builds that never come up. It draws from a stream of its own.
func (s *Scenario) release() {
	r := streamOf(s.Seed, "releases")
	if !r.chance(25) {
		return
	}
	s.Releases = true
	for i, n := range s.Specs {
		if n.Agent != nil {
			s.Specs[i] = changed(n, func(c *tree.Spec) { c.Agent.Build = "0" })
		}
	}
	for i := range 1 + r.below(4) {
		f := s.applies(&r, i)
		s.Faults = append(s.Faults, f)
		if f.Edit == Break && r.chance(60) {
			s.Faults = append(s.Faults, Fault{At: f.At + r.between(0, 8*time.Second), Kind: ApplyConfig, Edit: Former, Count: 1 + r.below(3)})
		}
		if r.chance(25) { // somebody else applies at the same time
			other := s.applies(&r, i+10)
			other.At = f.At + r.between(0, 30*time.Millisecond)
			s.Faults = append(s.Faults, other)
		}
		if r.chance(25) {
			s.Faults = append(s.Faults, Fault{
				At: f.At + r.between(0, 300*time.Millisecond), Kind: CrashSupervisor, Of: r.below(s.Supervisors),
				Point: Point(r.below(int(points))), For: r.between(10*time.Millisecond, 3*time.Second),
			})
		}
		if r.chance(40) {
			s.Faults = append(s.Faults, Fault{
				At: f.At + r.between(0, 5*time.Second), Kind: Operator, Command: tree.CmdRoll, Node: pick(&r, "root", s.Specs[r.below(len(s.Specs))].ID),
				Count: 1 + r.below(3), Outdated: r.chance(60),
			})
		}
	}
	s.Faults = slices.DeleteFunc(s.Faults, func(f Fault) bool { return f.At > s.Calm })
	s.order()
}

// applies draws how an operator changes the configuration. Of 0 agents that may be
// down at once they are left as they are.
func (s *Scenario) applies(r *stream, i int) Fault {
	f := Fault{
		At: r.between(0, s.Calm), Kind: ApplyConfig, Node: s.Specs[r.below(len(s.Specs))].ID, Count: pick(r, 0, 1, 1, 2, 3),
		Edit: pick(r, Rebuild, Rebuild, Rebuild, Rebuild, Break, Bring, Leave, Shift, Limit, Limit, Former), Looks: r.chance(30),
	}
	supervisors := s.supervisors()
	switch to := supervisors[r.below(len(supervisors))]; f.Edit {
	case Bring:
		f.Spec = s.agent(r, fmt.Sprintf("extra-%d", i+1), to)
		f.Spec.Significant, f.Spec.Agent.Runner, f.Spec.Agent.Build, f.Spec.Agent.Listen = false, tree.AnyRunner, "0", 3*time.Second
		if back := s.Specs[r.below(len(s.Specs))]; back.Agent != nil && back.Template == "" && r.chance(50) {
			f.Spec = back
		}
	case Shift:
		f.To = to
	case Limit:
		f.To, f.Spec = to, &tree.Spec{ID: to, Supervisor: &tree.Supervisor{
			MaxRestarts: pick(r, 1, 3, 10), Period: pick(r, 5*time.Second, time.Minute),
			Escalation: pick(r, tree.ToParent, tree.CoolOff, tree.Terminate, tree.Ignore, tree.Isolate, tree.Isolate),
			CoolOff:    pick(r, 200*time.Millisecond, 2*time.Second, 6*time.Second), MaxCoolOff: 8 * time.Second,
		}}
	}
	return f
}
