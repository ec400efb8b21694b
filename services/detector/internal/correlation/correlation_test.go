package correlation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// world drives a tracker and writes down its effects.
type world struct {
	t     *testing.T
	tr    *Tracker
	now   Instant
	sizes map[Group]int
	said  []string
}

func newWorld(t *testing.T, cfg Config, sizes map[Group]int) *world {
	t.Helper()
	tr, err := New(cfg, func(g Group) int { return sizes[g] })
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, tr: tr, now: time.Minute, sizes: sizes}
}

func (w *world) take(effects []Effect) {
	for _, e := range effects {
		switch e.What {
		case Release:
			w.say("release %s", e.Member.Agent)
		case Found:
			w.say("found %s %s %d/%d", e.Finding.Group.Kind, e.Finding.Group.Name, e.Finding.Silent, e.Finding.Size)
		case Over:
			f := e.Finding
			line := fmt.Sprintf("over %s %s: %d back, %d proven, %d released", f.Group.Kind, f.Group.Name, f.Back, f.Proven, f.Released)
			if f.Merged {
				line += ", merged"
			}
			w.say("%s", line)
		}
	}
}

func (w *world) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.now += 20 * time.Millisecond
		w.take(w.tr.Tick(w.now))
	}
}

func (w *world) verdict(m Member) { w.take(w.tr.Verdict(w.now, m)) }

func (w *world) back(agent string) bool {
	held, effects := w.tr.Back(w.now, agent)
	w.take(effects)
	return held
}

// expect compares what was said; releases are counted when there are many.
func (w *world) expect(want ...string) {
	w.t.Helper()
	var got []string
	releases := 0
	for _, line := range w.said {
		if strings.HasPrefix(line, "release ") {
			releases++
		}
	}
	for _, line := range w.said {
		if strings.HasPrefix(line, "release ") && releases > 4 {
			if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "released ") {
				got = append(got, fmt.Sprintf("released %d", releases))
			}
			continue
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("effects (-want +got):\n%s", diff)
	}
	w.said = nil
}

func member(i int, runner, typ string) Member {
	return Member{Agent: fmt.Sprintf("a%03d", i), Incarnation: 1, Runner: runner, Type: typ, Interval: time.Second}
}

var fleet = Group{Kind: Fleet}

func TestSmallNumbersAreNeverHeld(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 3, {Runner, "r"}: 3})
	for i := range 3 {
		w.verdict(member(i, "r", ""))
	}
	w.expect("release a000", "release a001", "release a002")
	w = newWorld(t, Config{}, map[Group]int{fleet: 1000})
	for i := range 20 { // far from each other
		w.verdict(member(i, "", ""))
		w.run(5 * time.Second)
	}
	if len(w.said) != 20 {
		t.Errorf("%v", w.said)
	}
}

// A host that is gone: four verdicts pass, then the runner is named and the
// others are held, and released at the rate.
func TestLostHost(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 200, {Runner, "r1"}: 50, {Type, "x"}: 200})
	for i := range 50 {
		w.verdict(member(i, "r1", "x"))
		w.run(20 * time.Millisecond)
	}
	w.expect("release a000", "release a001", "release a002", "release a003")
	w.run(time.Second)
	w.expect("found runner r1 50/50")
	if n := w.tr.Waiting(); n != 46 {
		t.Errorf("%d held", n)
	}
	w.run(17 * time.Second)
	w.expect()
	w.run(8 * time.Second)
	w.expect("released 46", "over runner r1: 0 back, 0 proven, 46 released")
}

// A partition that heals within the hold: nobody is condemned but the first.
func TestPartitionHeals(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 1000})
	for i := range 500 {
		w.take(w.tr.Suspect(w.now, member(i, "", "")))
		if i%25 == 0 {
			w.run(20 * time.Millisecond)
		}
	}
	for i := range 500 {
		w.verdict(member(i, "", ""))
	}
	w.run(10 * time.Second)
	w.expect("found fleet  500/1000")
	for i := range 500 {
		if !w.back(member(i, "", "").Agent) {
			t.Fatalf("the verdict on %d was not held", i)
		}
	}
	w.expect("over fleet : 500 back, 0 proven, 0 released")
	w.run(time.Hour)
	if len(w.tr.silent) != 0 || len(w.tr.crowds) != 0 || len(w.tr.due) != 0 || w.tr.held != 0 {
		t.Errorf("left behind: %+v", w.tr)
	}
}

func TestNamesWhatIsShared(t *testing.T) {
	for name, c := range map[string]struct {
		of   func(i int) Member
		want string
	}{
		"a runner that is most of the fleet": {func(i int) Member { return member(i, "big", "x") }, "found runner big 60/60"},
		"a type across runners":              {func(i int) Member { return member(i, fmt.Sprint("r", i%10), "y") }, "found type y 60/60"},
		"all":                                {func(i int) Member { return member(i, fmt.Sprint("r", i%10), fmt.Sprint("t", i%2)) }, "found fleet  60/70"},
	} {
		t.Run(name, func(t *testing.T) {
			sizes := map[Group]int{fleet: 70, {Runner, "big"}: 60, {Type, "x"}: 70, {Type, "y"}: 60, {Type, "t0"}: 35, {Type, "t1"}: 35}
			for i := range 10 {
				sizes[Group{Runner, fmt.Sprint("r", i)}] = 7
			}
			w := newWorld(t, Config{}, sizes)
			for i := range 60 {
				w.take(w.tr.Suspect(w.now, c.of(i)))
			}
			for i := range 60 {
				w.verdict(c.of(i))
			}
			w.run(2 * time.Second)
			w.expect(c.want)
		})
	}
}

// What first looks like one runner's matter becomes the fleet's.
func TestWiderFindingTakesOver(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 60, {Runner, "r0"}: 20, {Runner, "r1"}: 20, {Runner, "r2"}: 20})
	all := func(r int) {
		for i := range 20 {
			w.take(w.tr.Suspect(w.now, member(100*r+i, fmt.Sprint("r", r), "")))
		}
		for i := range 20 {
			w.verdict(member(100*r+i, fmt.Sprint("r", r), ""))
		}
		w.run(2 * time.Second)
	}
	all(0)
	w.expect("found runner r0 20/20")
	all(1)
	w.expect("found fleet  40/60", "over runner r0: 0 back, 0 proven, 0 released, merged")
	all(2)
	w.expect()
	if w.tr.Waiting() != 60 {
		t.Errorf("%d held", w.tr.Waiting())
	}
}

func TestCrowdThatIsNoneIsReleased(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 100, {Runner, "r"}: 100})
	for i := range 8 {
		w.verdict(member(i, "r", ""))
	}
	w.expect("release a000", "release a001", "release a002", "release a003")
	w.run(1500 * time.Millisecond)
	w.expect("release a004", "release a005", "release a006", "release a007")
}

func TestProofAndOthersWordWithdraw(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 10})
	for i := range 10 {
		w.take(w.tr.Suspect(w.now, member(i, "", "")))
	}
	for i := range 10 {
		w.verdict(member(i, "", ""))
	}
	w.expect("found fleet  10/10")
	for i := range 9 {
		if held, effects := w.tr.Ended(w.now, member(i, "", "")); !held || len(effects) > 0 {
			t.Errorf("%d: %v, %v", i, held, effects)
		}
	}
	held, effects := w.tr.Told(w.now, "a009")
	w.take(effects)
	if held2, _ := w.tr.Gone(w.now, "a009"); !held || held2 {
		t.Errorf("held %t, and after that %t", held, held2)
	}
	w.run(time.Hour)
	w.expect("over fleet : 0 back, 9 proven, 1 released")
}

// A host's agents are killed together, and restarted at once: one finding, and
// nothing to hold.
func TestManyProvenEnds(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 80, {Runner, "r"}: 50})
	for i := range 50 {
		w.sizes[Group{Runner, "r"}]--
		w.sizes[fleet]--
		if held, effects := w.tr.Ended(w.now, member(i, "r", "")); held || len(effects) > 0 {
			t.Errorf("%d: %v, %v", i, held, effects)
		}
		w.run(10 * time.Millisecond)
	}
	w.sizes[Group{Runner, "r"}], w.sizes[fleet] = 50, 80
	for i := range 50 {
		w.back(member(i, "r", "").Agent) // the next incarnation beats
	}
	w.run(2 * time.Second)
	w.expect("found runner r 50/50")
	w.run(time.Minute)
	w.expect("over runner r: 0 back, 50 proven, 0 released")
	for i := range 4 { // a few are no matter
		w.tr.Ended(w.now, member(i, "r", ""))
	}
	w.run(time.Minute)
	w.expect()
	if len(w.tr.silent)+len(w.tr.crowds)+len(w.tr.due) > 0 {
		t.Errorf("left behind: %+v", w.tr)
	}
}

func TestGraceHoldsOn(t *testing.T) {
	w := newWorld(t, Config{Hold: time.Second}, map[Group]int{fleet: 10})
	for i := range 10 {
		w.take(w.tr.Suspect(w.now, member(i, "", "")))
	}
	for i := range 10 {
		w.verdict(member(i, "", ""))
	}
	w.tr.Grace(w.now + 10*time.Second)
	w.run(9 * time.Second)
	w.expect("found fleet  10/10")
	w.run(3 * time.Second)
	w.expect("released 10", "over fleet : 0 back, 0 proven, 10 released")
}

func TestNewIncarnationIsAnotherMatter(t *testing.T) {
	w := newWorld(t, Config{}, map[Group]int{fleet: 10})
	for i := range 6 {
		w.take(w.tr.Suspect(w.now, member(i, "", "")))
	}
	m := member(0, "", "")
	w.verdict(m)
	m.Incarnation = 2
	w.verdict(m)
	if w.tr.held != 1 || len(w.tr.silent) != 6 || w.tr.crowds[fleet].n != 6 {
		t.Errorf("%d held of %d, crowd of %d", w.tr.held, len(w.tr.silent), w.tr.crowds[fleet].n)
	}
}

func TestValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Share: 1.5, Minimum: 1, Window: -1, Hold: -1, ReleaseRate: -1}.Validate()
	for _, want := range []string{"share", "minimum", "window", "hold", "release_rate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not complained about: %v", want, err)
		}
	}
	if _, err := New(Config{Share: -1}, nil); err == nil {
		t.Error("a tracker with impossible rules")
	}
}
