package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
)

// TestSnapshotsAreGuarded: a bucket that does not answer is left alone after some
// failures, and decisions are stored meanwhile.
func TestSnapshotsAreGuarded(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		first, env := open(t, s, "s1")
		js := s.Mutable(t, env.NC)
		env.JS = js
		guards := Guards{Log: shell.NewGuard(env, nil, "eventstore"), State: shell.NewGuard(env, nil, "state_store")}
		j, err := Open(t.Context(), env, "main", guards)
		if err != nil {
			t.Fatal(err)
		}
		d := grown(0, 3)
		j.mustPut(t, d)
		js.Silence(true)
		before := js.Asked()
		for range 10 {
			if err := j.Save(t.Context(), fold(d), d.Cursor); err == nil {
				t.Error("stored in silence")
			}
		}
		if asked := js.Asked() - before; asked != 5 || guards.State.State() != guard.Open {
			t.Errorf("ten snapshots asked %d times and left the breaker %s", asked, guards.State.State())
		}
		if err := j.put(t.Context(), grown(3, 1)); err != nil || guards.Log.State() != guard.Closed {
			t.Errorf("a decision meanwhile: %v, the breaker of the log is %s", err, guards.Log.State())
		}
		js.Silence(false)
		<-time.After(30 * time.Second)
		if err := j.Save(t.Context(), fold(d), d.Cursor); err != nil {
			t.Errorf("the bucket answers, and that gives %v", err)
		}
		if s, err := first.readSnapshot(t.Context()); err != nil || s.Number != 2 {
			t.Errorf("the snapshot is of decision %d, %v", s.Number, err)
		}
	})
}

// TestSnapshotIsWaitedFor: silence, and a breaker that is open because of it, do
// not make a tree forget what only its snapshot has.
func TestSnapshotIsWaitedFor(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		first, env := open(t, s, "s1")
		d := grown(0, 3)
		first.mustPut(t, d)
		first.mustSave(t, fold(d), d.Cursor)
		js := s.Mutable(t, env.NC)
		env.JS = js
		guards := Guards{Log: shell.NewGuard(env, nil, "eventstore"), State: shell.NewGuard(env, nil, "state_store")}
		second, err := Open(t.Context(), env, "main", guards)
		if err != nil {
			t.Fatal(err)
		}
		js.Silence(true)
		for range 5 {
			_ = second.Save(t.Context(), fold(d), d.Cursor)
		}
		if guards.State.State() != guard.Open {
			t.Fatalf("the breaker is %s", guards.State.State())
		}
		time.AfterFunc(500*time.Millisecond, func() { js.Silence(false) })
		st, err := second.Load(t.Context())
		if err != nil || st.Folded != 0 || len(st.Tree.Nodes) != len(fold(d).Nodes) {
			t.Errorf("loaded %d nodes, %d decisions from the log, %v", len(st.Tree.Nodes), st.Folded, err)
		}
		js.Silence(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := second.Load(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody answers, and that gives %v", err)
		}
	})
}

// TestStandingIsGuarded: whoever wants to know whether it still decides waits for
// a log that does not answer, and asks it seldom.
func TestStandingIsGuarded(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		_, env := open(t, s, "s1")
		js := s.Mutable(t, env.NC)
		env.JS = js
		f := config.Default()
		f.CircuitBreakers["eventstore"] = config.CircuitBreaker{FailureThreshold: 5, SuccessThreshold: 1, Timeout: 30 * time.Second, HalfOpenMaxCalls: 1}
		log := shell.NewGuard(env, f, "eventstore")
		j, err := Open(t.Context(), env, "main", Guards{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		j.mustPut(t, grown(0, 1))
		js.Silence(true)
		before := js.Asked()
		answer := make(chan error)
		go func() {
			current, err := j.Current(t.Context(), 0)
			if err == nil && !current {
				err = errors.New("somebody else decides")
			}
			answer <- err
		}()
		<-time.After(time.Minute)
		if log.State() == guard.Closed || js.Asked()-before > 8 {
			t.Errorf("asked %d times in a minute of silence; the breaker is %s", js.Asked()-before, log.State())
		}
		js.Silence(false)
		if err := <-answer; err != nil {
			t.Errorf("the log answers, and that gives %v", err)
		}
	})
}

// TestOutageOpensNoBreaker: without a connection calls fail at once, and speak
// neither for nor against what they were meant for.
func TestOutageOpensNoBreaker(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		j, env := open(t, s, "s1")
		d := grown(0, 1)
		j.mustPut(t, d)
		s.Down()
		for env.NC.IsConnected() {
			<-time.After(time.Millisecond)
		}
		for range 10 {
			if err := j.Save(t.Context(), fold(d), d.Cursor); err == nil {
				t.Error("stored without a server")
			}
		}
		current := make(chan bool)
		go func() {
			is, err := j.Current(t.Context(), 0)
			current <- is && err == nil
		}()
		<-time.After(time.Minute)
		if log, state := j.guard.State(), j.bucket.guard.State(); log != guard.Closed || state != guard.Closed {
			t.Errorf("the breakers are %s and %s", log, state)
		}
		s.Up(t)
		for env.NC.Stats().Reconnects == 0 {
			<-time.After(10 * time.Millisecond)
		}
		if !<-current {
			t.Error("it decides no more")
		}
		if err := j.Save(t.Context(), fold(d), d.Cursor); err != nil {
			t.Errorf("after the outage: %v", err)
		}
	})
}
