package tree

import (
	"strings"
	"testing"
	"time"
)

// A rolling restart that is stopped says how the new incarnation ended, and which it was,
// however it ended and however soon the next one is started.
func TestAStoppedRollingRestartSaysWhatEnded(t *testing.T) {
	t.Parallel()
	delays := map[string]func(*Spec){
		"at once": func(*Spec) {}, "after a delay": func(s *Spec) { s.Backoff.Delay = time.Second },
		"set apart": func(s *Spec) {},
	}
	for delay, change := range delays {
		for name, ends := range map[string]Input{
			"failed":    {Kind: Exited, Reason: "how it ended"},
			"completed": {Kind: Exited, Normal: true, Reason: "how it ended"},
			"no start":  {Kind: StartFailed, Reason: "how it ended"},
		} {
			t.Run(name+" "+delay, func(t *testing.T) {
				t.Parallel()
				root := sup("root", "", Supervisor{MaxRestarts: 9})
				if delay == "set apart" {
					root = isolating("root", "", 0)
				}
				b := newBench(t, root, agent("a", "root", change), agent("b", "root", change))
				file := []*Spec{root, agent("a", "root", change), agent("b", "root", change)}
				if delay != "set apart" {
					b.crash("a") // an older one, which is not to be named
					b.after(time.Minute)
				}
				was := b.state("a").Incarnation
				for _, s := range file[1:] {
					s.Agent.Build = "new"
				}
				b.do(Input{Kind: Configure, Specs: build("old", file)})
				b.raw(Input{Kind: Configure, Specs: file, Token: "file", Configuration: &Configuration{Digest: "2", MaxUnavailable: 1}})
				b.wantPhase("a", Stopping)
				b.raw(Input{Kind: Stopped, Node: "a", Incarnation: was})
				ends.Node, ends.Incarnation = "a", was+1
				if ends.Kind == Exited {
					b.raw(Input{Kind: Started, Node: "a", Incarnation: was + 1})
				}
				var told []Effect
				for _, e := range b.raw(ends) {
					if e.Kind == NoteRollingStopped {
						told = append(told, e)
					}
				}
				if len(told) != 1 || told[0].Incarnation != was+1 || !strings.HasSuffix(told[0].Reason, " left as they are: how it ended") {
					t.Errorf("told %+v", told)
				}
				a, _ := b.tree.Answered("file")
				if !strings.HasPrefix(a.Reason, "a ") || !strings.HasSuffix(a.Reason, ": how it ended") {
					t.Errorf("answered %q", a.Reason)
				}
			})
		}
	}
}

// build returns the specifications with another build of all agents.
func build(as string, specs []*Spec) (out []*Spec) {
	for _, s := range specs {
		c := *s
		if c.Agent != nil {
			a := *c.Agent
			a.Build, c.Agent = as, &a
		}
		out = append(out, &c)
	}
	return out
}
