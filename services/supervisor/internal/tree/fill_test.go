package tree

import (
	"testing"
	"time"
)

// unit is a group whose members must beat before they count as up.
func unit(s Strategy, members ...string) []*Spec {
	specs := []*Spec{sup("root", "", Supervisor{MaxRestarts: 9}), sup("g", "root", Supervisor{Strategy: s, MaxRestarts: 9})}
	for _, id := range members {
		specs = append(specs, verifiedMember(id))
	}
	return specs
}

func verifiedMember(id string) *Spec {
	return agent(id, "g", func(s *Spec) { s.Agent.Verify, s.Agent.StartDeadline = true, 8*time.Second })
}

// newUnit is a group that is up.
func newUnit(t *testing.T, specs ...*Spec) *bench {
	b := slow(t, specs...)
	for _, id := range b.tree.Children("g") {
		b.beats(id)
	}
	b.took()
	return b
}

// beats has the start of an agent acknowledged, and the agent beat.
func (b *bench) beats(id string) {
	b.t.Helper()
	b.wantPhase(id, Starting)
	b.started(id)
	b.raw(Input{Kind: Beat, Node: id, Incarnation: b.state(id).Incarnation})
	b.raw(Input{Kind: Tick})
	b.wantPhase(id, Running)
}

// TestMembersStartInOrder: members that a group gets while it is up start in its order,
// each when the one before it is up, and those that run are not touched.
func TestMembersStartInOrder(t *testing.T) {
	t.Parallel()
	instance := func(i int) *Spec {
		s := verifiedMember(Instance("w", i))
		s.Template, s.Index, s.Instances = "w", i, 1
		return s
	}
	for _, s := range []Strategy{OneForAll, RestForOne} {
		file := func(members ...string) []*Spec { return unit(s, members...) }
		for name, c := range map[string]struct {
			before []*Spec
			happen func(b *bench)
			// order are those that start, one after the other, among them in the end.
			order []string
			runs  string
		}{
			"a file adds them": {
				file("a", "z"), func(b *bench) { b.apply(1, file("a", "db", "app", "z")...) }, []string{"db", "app"}, "a",
			},
			"a file adds the first": {
				file("z"), func(b *bench) { b.apply(1, file("db", "app", "z")...) }, []string{"db", "app"}, "z",
			},
			"a later file adds one before those that await their turn": {
				file("a"), func(b *bench) {
					b.apply(1, file("a", "app", "web")...)
					b.apply(1, file("a", "db", "app", "web")...)
					b.beats("app") // which had begun
				}, []string{"db", "web"}, "a",
			},
			"orders add them": {
				file("a"), func(b *bench) {
					b.raw(Input{Kind: Order, Command: CmdAdd, Spec: verifiedMember("db"), Token: "1"})
					b.raw(Input{Kind: Order, Command: CmdAdd, Spec: verifiedMember("app"), Token: "2"})
				}, []string{"db", "app"}, "a",
			},
			"one is scaled": {
				append(file("a"), instance(1)), func(b *bench) { b.raw(Input{Kind: Order, Command: CmdScale, Node: "w", Count: 3}) },
				[]string{"w-2", "w-3"},
				"a",
			},
			"they are enforced again": {
				file("a", "db", "app"), func(b *bench) {
					r := RolloutOf(Off)
					b.raw(Input{Kind: Order, Command: CmdMode, Node: "g", Mode: &r})
					for _, id := range []string{"db", "app"} {
						b.raw(Input{Kind: Exited, Node: id, Incarnation: 1, Reason: "killed"})
					}
					r = RolloutOf(Enforce)
					b.raw(Input{Kind: Order, Command: CmdMode, Node: "g", Mode: &r})
					b.raw(Input{Kind: SeenAlive, Node: "a", Incarnation: 1})
					for range 3 {
						tick(time.Minute)(b)
					}
				}, []string{"db", "app"}, "a",
			},
			"orders start them, the last first": {
				file("a", "db", "app", "web"), func(b *bench) {
					for _, id := range []string{"db", "app", "web"} {
						b.raw(Input{Kind: Order, Command: CmdTerminate, Node: id})
						b.raw(Input{Kind: Stopped, Node: id, Incarnation: 1})
					}
					for _, id := range []string{"web", "app", "db"} {
						b.raw(Input{Kind: Order, Command: CmdRestart, Node: id, Token: id})
					}
					b.wantPhase("web", Starting) // which nothing came before when it was ordered
					b.wantPhase("app", Starting)
				}, nil, "a",
			},
			"they are to run again": {
				func() []*Spec {
					specs := file("a", "db", "app", "z")
					specs[3].Restart, specs[4].Restart = Transient, Transient
					return specs
				}(), func(b *bench) {
					for _, id := range []string{"db", "app"} {
						b.raw(Input{Kind: Exited, Node: id, Incarnation: 1, Normal: true, Reason: "done"})
					}
					b.apply(1, file("a", "db", "app", "z")...)
				}, []string{"db", "app"}, "z",
			},
		} {
			t.Run(string(s)+": "+name, func(t *testing.T) {
				t.Parallel()
				b := newUnit(t, c.before...)
				c.happen(b)
				for i, id := range c.order {
					b.wantPhase(id, Starting)
					for _, later := range c.order[i+1:] {
						if !b.tree.nodes[later].awaitsTurn() {
							t.Errorf("%s is %s while %s starts", later, b.state(later).Phase, id)
						}
					}
					b.beats(id)
				}
				if len(c.order) > 0 {
					b.equal("the operation", b.tree.nodes["g"].op(), (*Operation)(nil))
				}
				b.equal("incarnation of "+c.runs, b.state(c.runs).Incarnation, uint64(1))
			})
		}
	}
}

// TestMembersAwaitOneThatDoesNotComeUp: a member that cannot come up holds up those
// after it, as when the group starts, over the loss of the supervisor's memory, too.
func TestMembersAwaitOneThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	b := newUnit(t, unit(RestForOne, "a")...)
	b.apply(1, unit(RestForOne, "a", "db", "app")...)
	for range 4 {
		b.wantPhase("db", Starting)
		b.started("db")
		tick(8 * time.Second)(b)
		b.wantPhase("db", Unverified)
		again, err := Load(Options{}, b.tree.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		b.tree = again
		b.raw(Input{Kind: Failed, Node: "db", Incarnation: b.state("db").Incarnation, Reason: "unverified"})
		b.raw(Input{Kind: Stopped, Node: "db", Incarnation: b.state("db").Incarnation})
		b.wantPhase("app", Idle)
	}
	b.beats("db")
	b.beats("app")
	b.equal("a", b.state("a").Incarnation, uint64(1))
}

// TestFailureWhileAGroupIsFilled: another member that fails meanwhile is restarted at
// once, and the start under way is repeated in its turn.
func TestFailureWhileAGroupIsFilled(t *testing.T) {
	t.Parallel()
	b := newUnit(t, unit(RestForOne, "a", "z")...)
	b.apply(1, unit(RestForOne, "a", "db", "app", "z")...)
	b.wantPhase("db", Starting)
	b.raw(Input{Kind: Exited, Node: "z", Incarnation: 1, Reason: "crash"})
	b.equal("stopping", b.stopping(), "db")
	b.raw(Input{Kind: Stopped, Node: "db", Incarnation: 1})
	for _, id := range []string{"db", "app", "z"} {
		b.beats(id)
	}
	b.equal("a", b.state("a").Incarnation, uint64(1))
}

// TestMembersThatGoStopInReverse: members that are removed together stop one after the
// other, the last first. Those of one_for_one stop side by side.
func TestMembersThatGoStopInReverse(t *testing.T) {
	t.Parallel()
	stop := func(b *bench, id string) {
		b.t.Helper()
		b.equal("stopping", b.stopping(), id)
		b.raw(Input{Kind: Stopped, Node: id, Incarnation: b.state(id).Incarnation})
		b.equal(id+" is there", b.tree.Has(id), false)
	}
	ends := func(b *bench, id string) {
		b.raw(Input{Kind: Exited, Node: id, Incarnation: b.state(id).Incarnation, Reason: "crash"})
	}
	all := []string{"a", "b", "c", "d"}
	t.Run("in turn", func(t *testing.T) {
		t.Parallel()
		b := newUnit(t, unit(RestForOne, all...)...)
		b.apply(1, unit(RestForOne, "a")...)
		for _, id := range []string{"d", "c", "b"} {
			stop(b, id)
		}
		b.equal("a", b.state("a").Incarnation, uint64(1))
	})
	t.Run("side by side", func(t *testing.T) {
		t.Parallel()
		b := newUnit(t, unit(OneForOne, all...)...)
		b.apply(1, unit(OneForOne, "a")...)
		b.equal("stopping", b.stopping(), "b c d")
	})
	t.Run("one that ends by itself meanwhile", func(t *testing.T) {
		t.Parallel()
		b := newUnit(t, unit(OneForAll, all...)...)
		b.apply(1, unit(OneForAll, "a")...)
		ends(b, "c")
		b.equal("c is there", b.tree.Has("c"), false)
		stop(b, "d")
		stop(b, "b")
		b.equal("a", b.state("a").Incarnation, uint64(1))
	})
	t.Run("and the group restarts meanwhile", func(t *testing.T) {
		t.Parallel()
		b := newUnit(t, unit(OneForAll, all...)...)
		b.apply(1, unit(OneForAll, "a")...)
		ends(b, "a")
		for _, id := range []string{"d", "c", "b"} {
			stop(b, id)
		}
		b.beats("a")
	})
	t.Run("and they are configured again", func(t *testing.T) {
		t.Parallel()
		b := newUnit(t, unit(OneForAll, all...)...)
		b.apply(1, unit(OneForAll, "a")...)
		b.apply(1, unit(OneForAll, all...)...)
		b.raw(Input{Kind: Stopped, Node: "d", Incarnation: 1})
		b.beats("d")
		b.equal("stopping", b.stopping(), "")
		b.equal("c", b.state("c").Incarnation, uint64(1))
	})
	t.Run("over the loss of the memory", func(t *testing.T) {
		t.Parallel()
		b := newUnit(t, unit(OneForAll, all...)...)
		b.apply(1, unit(OneForAll, "a")...)
		again, err := Load(Options{}, b.tree.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		b.tree = again
		for _, id := range []string{"d", "c", "b"} {
			stop(b, id)
		}
	})
}
