package tree

import (
	"slices"
	"testing"
	"time"
)

// A configuration that removes agents is done when they have ended, or when that takes
// longer than it may; another one that keeps them supersedes it.
func TestAConfigurationIsDoneWhenWhatItRemovesHasEnded(t *testing.T) {
	t.Parallel()
	all := func() []*Spec {
		return []*Spec{
			sup("root", "", Supervisor{MaxRestarts: 9}), agent("ok", "root"), agent("slow", "root"), agent("other", "root"),
			sup("g", "root", Supervisor{Strategy: RestForOne, MaxRestarts: 9}), agent("x", "g"), agent("y", "g"),
		}
	}
	less := func(gone ...string) (kept []*Spec) {
		for _, s := range all() {
			if !slices.Contains(gone, s.ID) {
				kept = append(kept, s)
			}
		}
		return kept
	}
	apply := func(b *bench, token string, specs []*Spec) {
		b.raw(Input{Kind: Configure, Specs: specs, Token: token, Configuration: &Configuration{Digest: token, MaxUnavailable: 1}})
	}
	stopped := func(b *bench, agents ...string) {
		for _, a := range agents {
			b.raw(Input{Kind: Stopped, Node: a, Incarnation: 1})
		}
	}
	for name, c := range map[string]struct {
		gone  []string
		then  func(*bench)
		reply string
	}{
		"it ends":              {[]string{"slow"}, func(b *bench) { stopped(b, "slow") }, "file: ok: "},
		"all must":             {[]string{"slow", "other"}, func(b *bench) { stopped(b, "slow") }, ""},
		"all do":               {[]string{"slow", "other"}, func(b *bench) { stopped(b, "slow", "other") }, "file: ok: "},
		"with its supervisor":  {[]string{"g", "x", "y"}, func(b *bench) { stopped(b, "y", "x") }, "file: ok: "},
		"one after another":    {[]string{"x", "y"}, func(b *bench) { stopped(b, "y"); b.after(19 * time.Second) }, ""},
		"it takes its time":    {[]string{"slow"}, func(b *bench) { b.after(9 * time.Second) }, ""},
		"it takes too long":    {[]string{"slow"}, func(b *bench) { b.after(10 * time.Second) }, "file: unverified: slow, which is removed, has not ended in its time"},
		"its host is lost":     {[]string{"slow"}, func(b *bench) { b.do(Input{Kind: Lost, Node: "slow", Incarnation: 1}) }, "file: ok: "},
		"it is kept after all": {[]string{"slow"}, func(b *bench) { apply(b, "next", all()) }, "file: superseded: another configuration was applied"},
		"the same again":       {[]string{"slow"}, func(b *bench) { apply(b, "next", less("slow")) }, ""},
		"an order ends it":     {[]string{"slow"}, func(b *bench) { b.do(command(CmdTerminate, "slow")); stopped(b, "slow") }, "file: ok: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, all()...)
			apply(b, "file", less(c.gone...))
			if _, over := b.tree.Answered("file"); over || b.tree.Rolling() == nil || len(b.tree.Rolling().Ending) == 0 {
				t.Fatalf("answered %t, waits for %+v", over, b.tree.Rolling())
			}
			b.tree = roundTrip(t, b.tree, Options{})
			c.then(b)
			got := ""
			if a, over := b.tree.Answered("file"); over {
				got = "file: " + string(a.Result) + ": " + a.Reason
			}
			b.equal("answered", got, c.reply)
			if due, ok := b.tree.Next(); c.reply == "" && (!ok || due <= b.now) {
				t.Errorf("due at %d, which is known: %t; now is %d", due, ok, b.now)
			}
		})
	}
	// What has no process has ended.
	b := newBench(t, all()...)
	b.do(command(CmdTerminate, "slow"))
	apply(b, "file", less("slow"))
	if r := b.tree.Rolling(); r != nil {
		t.Errorf("it waits: %+v", r)
	}
}
