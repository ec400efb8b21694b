package service

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestReadsAreGuarded: a log that does not answer is left alone after some
// failures, and asked again when its breaker's time has passed. That there is no
// such message is an answer.
func TestReadsAreGuarded(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		srv := natstest.Start(t)
		nc := srv.Connect(t)
		log := srv.Mutable(t, nc)
		r := idleOn(t, "r", nc, log)
		read := func() { r.addEnd(t.Context(), &contracts.TaskView{}, 1) }
		for range 10 {
			read()
		}
		if state := r.guards.log.State(); state != guard.Closed {
			t.Errorf("there is no such message, and the breaker is %s", state)
		}
		log.Silence(true)
		before := log.Asked()
		for range 10 {
			read()
		}
		if asked := log.Asked() - before; asked != 5 || r.guards.log.State() != guard.Open {
			t.Errorf("ten reads asked %d times and left the breaker %s", asked, r.guards.log.State())
		}
		if state := r.guards.queue.State(); state != guard.Closed {
			t.Errorf("the breaker of the queue is %s", state)
		}
		log.Silence(false)
		<-time.After(30 * time.Second)
		for range 3 {
			read()
		}
		if state := r.guards.log.State(); state != guard.Closed {
			t.Errorf("the log answers, and the breaker is %s", state)
		}
	})
}
