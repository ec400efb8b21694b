package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func announcement(runner, session string) []byte {
	raw, _ := json.Marshal(contracts.RunnerAnnouncement{Runner: runner, Session: session, Kind: "process", Capacity: 5, Agents: 2})
	return raw
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	var r Registry
	now := time.Unix(1e9, 0)
	hear := func(runner, session string) News {
		t.Helper()
		n, err := r.Heard(contracts.AnnounceSubject(runner), announcement(runner, session), now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := hear("r1", "a"); got != (News{Back: "r1", Visit: 1}) {
		t.Errorf("first: %+v", got)
	}
	if len(r.Available()) > 0 || r.Admit("r1", 2) || !r.Admit("r1", 1) || r.Admit("r1", 1) {
		t.Error("it takes starts before its visit is over, or never does")
	}
	if got := hear("r1", "a"); got != (News{}) {
		t.Errorf("again: %+v", got)
	}
	if got := hear("r1", "b"); got != (News{Back: "r1", Visit: 2}) {
		t.Errorf("new session: %+v", got)
	}
	if len(r.Available()) != 1 {
		t.Error("a new session alone keeps it from starts")
	}
	now = now.Add(contracts.RunnerTimeout)
	r.Admit("r2", hear("r2", "a").Visit)
	expires := func() bool { x := r.Expire(now); return x.Changed && slices.Equal(x.Away, []string{"r1"}) }
	if expires() {
		t.Error("r1 expired at its timeout; it may be as old as that")
	}
	now = now.Add(time.Millisecond)
	if !expires() || expires() {
		t.Error("r1 must expire, once")
	}
	if got := fmt.Sprint(r.Available()); got != "[{r2 5 false map[]}]" {
		t.Errorf("available: %s", got)
	}
	if got := hear("r1", "b"); got != (News{Back: "r1", Visit: 4}) || !r.Visiting("r1", 4) || r.Visiting("r1", 2) {
		t.Errorf("back: %+v", got)
	}
	if r.Admit("r1", 2) || !r.Admit("r1", 4) {
		t.Error("an old visit admits it, or the last does not")
	}
	if v := r.Views(); len(v) != 2 || v[0].Runner != "r1" || !v[0].Available || v[0].Agents != 2 {
		t.Errorf("views: %+v", v)
	}
	now = now.Add(25 * time.Hour)
	if forgotten := r.Expire(now).Forgotten; len(forgotten) != 2 || len(r.Views()) != 0 {
		t.Errorf("runners unheard of for a day are remembered; forgotten: %v", forgotten)
	}
}

func TestGoroutineRunnersAreNamedOnly(t *testing.T) {
	t.Parallel()
	var r Registry
	raw := []byte(`{"runner":"own","session":"s","kind":"goroutine","capacity":5}`)
	if _, err := r.Heard("smith.runner.own.announce", raw, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	r.Admit("own", 1)
	if a := r.Available(); len(a) != 1 || !a[0].Named {
		t.Errorf("%+v", a)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	var r Registry
	now := time.Unix(1e9, 0)
	hear := func(boot string) News {
		raw, _ := json.Marshal(contracts.RunnerAnnouncement{Runner: "r1", Session: "s", BootID: boot, Kind: "process"})
		n, err := r.Heard("smith.runner.r1.announce", raw, now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	r.Admit("r1", hear("one").Visit)
	r.Expect("r1", now)
	r.Expect("r2", now)
	now = now.Add(time.Minute)
	if got := r.Silent(now, time.Minute); len(got) != 2 || got["r1"].IsZero() || !got["r2"].IsZero() {
		t.Errorf("silent: %v", got)
	}
	if !r.Lose("r1") || r.Lose("r1") || !r.Lose("r2") {
		t.Error("lost once")
	}
	if v := r.Views(); len(v) != 2 || !v[0].Lost {
		t.Errorf("views: %+v", v)
	}
	r.Distrust(now)
	if got := r.Silent(now, time.Second); len(got) != 0 {
		t.Errorf("silent while this side was deaf: %v", got)
	}
	if n := hear("one"); n.Rebooted {
		t.Errorf("same boot: %+v", n)
	}
	if n := hear("two"); !n.Rebooted || !n.Changed || n.Visit == 0 || len(r.Available()) > 0 {
		t.Errorf("another boot: %+v", n)
	}
	if v := r.Views(); len(v) != 2 || v[0].Lost {
		t.Errorf("views: %+v", v)
	}
}

func TestDescribeExit(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]contracts.Exit{
		"exited with code 3":                      {Code: 3},
		"ended by SIGKILL":                        {Code: -1, Signal: "SIGKILL"},
		"ended; how is not known":                 {Code: -1, Unknown: true},
		"exited with code 1: panic: no":           {Code: 1, Tail: "starting\npanic: no\n"},
		"exited with code 2: " + long[:197] + "…": {Code: 2, Tail: long},
		"exited with code 0":                      {Tail: "\n\n"},
		"exited with code 4: last of two\rfor":    {Code: 4, Tail: "a\nlast of two\rfor"},
	} {
		if got := DescribeExit(e); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}

var long = strings.Repeat("long ", 100)

func FuzzAnnouncement(f *testing.F) {
	f.Add("smith.runner.r1.announce", announcement("r1", "s"))
	f.Add("smith.runner.r1.announce", []byte(`{"runner":"r2"}`))
	f.Add("smith.runner.r.1.announce", []byte(`{}`))
	f.Add("smith.runner.*.announce", []byte(`null`))
	f.Add("smith.runner.r1.announce", []byte(`{"runner":"r1","capacity":-1}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		var r Registry
		_, err := r.Heard(subject, body, time.Unix(1e9, 0))
		if err != nil && !errors.Is(err, ErrAnnouncement) {
			t.Fatal(err)
		}
		if known := len(r.Views()); (err == nil) != (known == 1) {
			t.Fatalf("%d runners known after %v", known, err)
		}
	})
}

// A runner whose host lacks resources gets starts again after ever longer waits.
func TestStrain(t *testing.T) {
	t.Parallel()
	var r Registry
	now := time.Unix(1e9, 0)
	hear := func() {
		t.Helper()
		news, err := r.Heard(contracts.AnnounceSubject("r1"), announcement("r1", "a"), now)
		if err != nil {
			t.Fatal(err)
		}
		r.Admit("r1", news.Visit)
	}
	hear()
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		want *= time.Second
		if !r.Strain("r1", now) || r.Strain("r1", now) || len(r.Available()) != 0 || r.Views()[0].Available {
			t.Fatal("it takes starts while it lacks resources, or is told so twice")
		}
		began := now
		for len(r.Available()) == 0 {
			now = now.Add(100 * time.Millisecond)
			hear()
			r.Expire(now)
		}
		if took := now.Sub(began); took != want {
			t.Errorf("it takes starts after %s, want %s", took, want)
		}
	}
	now = now.Add(time.Minute)
	hear()
	r.Strain("r1", now)
	now = now.Add(time.Second)
	if !r.Expire(now).Changed {
		t.Error("what was long ago makes it wait longer")
	}
	if r.Strain("nobody", now) {
		t.Error("a runner that is not known is strained")
	}
}
