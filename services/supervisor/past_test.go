package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// treeAt asks for the tree as it was.
func (w *world) treeAt(m contracts.Moment) contracts.TreeReply {
	w.t.Helper()
	return must[contracts.TreeReply](w, "tree", contracts.TreeRequest{Moment: m})
}

func (w *world) diff(from, to contracts.Moment) string {
	w.t.Helper()
	var out []string
	for _, n := range must[contracts.DiffReply](w, "diff", contracts.DiffRequest{From: from, To: to}).Nodes {
		s := n.Node + " " + string(n.Change)
		for _, f := range n.Fields {
			if f.Field == "incarnation" || f.Field == "status" || f.Field == "restarts" {
				s += fmt.Sprintf(" %s:%s>%s", f.Field, f.From, f.To)
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func at(t time.Time) contracts.Moment { return contracts.Moment{At: &t} }

// TestLookingBack asks for the tree at every moment at which it was seen, by
// time and by sequence, before and after a snapshot that is younger.
func TestLookingBack(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		w.runner.slow["d"] = time.Second
		stop := w.supervise("s1")
		type sight struct {
			at   time.Time
			seen contracts.TreeReply
		}
		var sights []sight
		see := func() {
			<-time.After(time.Millisecond)
			sights = append(sights, sight{time.Now(), w.tree()})
			<-time.After(time.Millisecond)
		}
		w.settled()
		see()
		w.runner.exit("a", 1)
		<-time.After(200 * time.Millisecond)
		see() // in the middle of a's verification
		w.settled()
		see()
		w.runner.exit("c", 1)
		<-time.After(500 * time.Millisecond)
		see() // d is being stopped
		w.settled()
		see()
		check := func(who string) {
			for i, s := range sights {
				for _, m := range []contracts.Moment{at(s.at), {Sequence: s.seen.Sequence}, {Sequence: s.seen.Sequence, At: &sights[0].at}} {
					got := w.treeAt(m)
					if got.Decision != s.seen.Decision || got.Sequence != s.seen.Sequence || got.At == nil || got.At.After(s.at) || got.Supervisor != "s1" {
						t.Errorf("%s, sight %d: decision %d at %d, %v by %s; want %d at %d", who, i, got.Decision, got.Sequence, got.At, got.Supervisor, s.seen.Decision, s.seen.Sequence)
					}
					w.want(fmt.Sprintf("%s, sight %d", who, i), strings.Join(statuses(got.Root), ", "), strings.Join(statuses(s.seen.Root), ", "))
				}
			}
		}
		check("from the log")
		if all := strings.Join(statuses(sights[3].seen.Root), ", "); !strings.Contains(all, "d stopping") {
			t.Errorf("not in the middle of a restart: %s", all)
		}
		w.want("what a's exit changed", w.diff(at(sights[0].at), at(sights[2].at)), "a changed incarnation:1>2 restarts:>1")
		w.want("what c's exit changed", w.diff(contracts.Moment{Sequence: sights[2].seen.Sequence}, contracts.Moment{}),
			"c changed incarnation:1>2 restarts:>1, d changed incarnation:1>2")
		w.want("nothing", w.diff(at(sights[1].at), at(sights[1].at)), "")

		stop() // stores a snapshot
		w.supervise("s2")
		w.settled()
		check("with a younger snapshot")
		if got := w.treeAt(at(time.Now().Add(time.Hour))); got.Supervisor != "s2" || got.Decision <= sights[4].seen.Decision {
			t.Errorf("in an hour it is decision %d by %s", got.Decision, got.Supervisor)
		}
	})
}

// TestLookingBackTooFar wants clear answers where there is nothing to see.
func TestLookingBackTooFar(t *testing.T) {
	inWorld(t, threeGroups, func(t *testing.T, w *world) {
		before := time.Now().Add(-time.Minute)
		stop := w.up()
		early := w.tree()
		w.runner.exit("a", 1)
		w.settled()
		refused := func(what, code, part, verb string, req any) {
			t.Helper()
			_, err := ask[struct{}](w, verb, req)
			w.wantRefused(what, err, code, part)
		}
		refused("before the tree", contracts.CodeNotFound, "no decision by then", "tree", contracts.TreeRequest{Moment: at(before)})
		refused("no such node", contracts.CodeNotFound, "had no node", "tree", contracts.TreeRequest{Node: "zzz", Moment: at(time.Now())})
		refused("no such node", contracts.CodeNotFound, "at either moment", "diff", contracts.DiffRequest{Node: "zzz", From: contracts.Moment{Sequence: early.Sequence}})

		stop()                    // stores a snapshot
		natstest.Streams(t, w.js) // its clock is the real one: everything expires
		w.supervise("s2")
		w.want("the snapshot goes on", strings.Join(statuses(w.treeAt(at(time.Now())).Root), ", "), w.settled())
		refused("purged", contracts.CodeNotFound, "does not reach back", "tree", contracts.TreeRequest{Moment: contracts.Moment{Sequence: early.Sequence}})
		refused("purged", contracts.CodeNotFound, "oldest decision of the tree is number", "diff", contracts.DiffRequest{From: contracts.Moment{Sequence: early.Sequence}})
		if !slices.Contains(statuses(w.tree().Root), "a running 2") {
			t.Error(w.tree())
		}
	})
}
