package runner_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

func TestOutageOfNATS(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	h.run(h.config())
	lives := h.mustStart(script("lives", 1, forever))
	dies := h.mustStart(script("dies", 1, forever))
	h.stored("smith.event.agent.started.*", 2)

	h.server.Down()
	if err := syscall.Kill(dies.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("the end", func() bool { return !alive(dies.PID) })
	h.server.Up(t)

	if evs := h.stored("smith.event.agent.failed.*", 1); len(evs) != 1 || evs[0].Entity != "dies" {
		t.Errorf("failed events %+v", evs)
	}
	if !alive(lives.PID) {
		t.Error("the outage killed an agent")
	}
	h.eventually("an answer", func() bool {
		_, err := h.nc.Request(contracts.RunnerSubject("r1", "list"), nil, time.Second)
		return err == nil
	})
	h.mustStart(script("dies", 2, forever))
}

// A runner that is cut off for too long ends its agents, so that they can be started
// elsewhere; an outage that is shorter ends none.
func TestStopOnDisconnect(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	natstest.Streams(t, h.js)
	cfg := h.config()
	cfg.StopOnDisconnect = 5 * time.Second
	cfg.File = config.Default()
	cfg.File.Runner.Output.LastLinesInEvents = true
	h.run(cfg)
	polite := h.mustStart(script("polite", 1, `trap 'echo saved; exit 3' TERM; echo up; while :; do sleep 0.1; done`))
	good := h.mustStart(script("good", 1, `trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done`))
	h.stored("smith.event.agent.started.*", 2)

	h.server.Down()
	h.server.Up(t)
	h.eventually("an answer", func() bool {
		_, err := h.nc.Request(contracts.RunnerSubject("r1", "list"), nil, time.Second)
		return err == nil
	})
	if !alive(polite.PID) {
		t.Fatal("a short outage ended it")
	}

	h.server.Down()
	h.eventually("its end", func() bool { return !alive(polite.PID) && !alive(good.PID) })
	h.server.Up(t)
	evs := h.stored("smith.event.agent.failed.polite", 1)
	got, err := contracts.DecodeData[contracts.AgentFailedData](evs[0])
	if err != nil || got.Reason != contracts.ReasonHostLost || got.Exit == nil || got.Exit.Code != 3 || got.Exit.Blame != contracts.BlameHost ||
		!strings.Contains(got.Detail, "runner r1 was cut off for ") || !strings.Contains(got.Exit.Tail, "saved") {
		t.Errorf("told %+v, exit %+v, %v", got, got.Exit, err)
	}
	got, err = contracts.DecodeData[contracts.AgentFailedData](h.stored("smith.event.agent.failed.good", 1)[0])
	if err != nil || got.Reason != contracts.ReasonHostLost || got.Exit.Code != 0 || !strings.HasSuffix(got.Detail, "ended with it, with exit code 0") {
		t.Errorf("told %+v, exit %+v, %v", got, got.Exit, err)
	}
	h.mustStart(script("polite", 2, forever))
}

func TestEventsWaitForTheStream(t *testing.T) {
	h := newHost(t)
	h.run(h.config())
	h.mustStart(script("a", 1, "exit 4"))
	natstest.Streams(t, h.js)
	evs := h.stored("smith.event.agent.*.a", 2)
	if evs[0].Type != contracts.AgentStarted || evs[1].Type != contracts.AgentFailed {
		t.Errorf("events %+v", evs)
	}
}

// A predecessor got an event stored and died before it could cross it off; by
// now JetStream has forgotten the event's id.
func TestEventStoredLongAgoIsNotStoredAgain(t *testing.T) {
	h := newHost(t)
	natstest.Streams(t, h.js)
	cfg := contracts.EventStreamConfig(contracts.StreamOptions{})
	cfg.Duplicates = 100 * time.Millisecond
	if _, err := h.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	event := func(ty contracts.EventType) contracts.Event {
		ev, err := contracts.NewEvent("runner/r1", ty, "a", time.Now().Add(-time.Hour)).Build()
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	old, fresh := event(contracts.AgentStopped), event(contracts.AgentFailed)
	if _, err := shell.PublishEvent(t.Context(), h.js, old); err != nil {
		t.Fatal(err)
	}
	state, err := ledger.Open(t.Context(), h.dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	err = state.Save(ledger.Record{
		Agent: "a", Highest: 1, State: ledger.Exited,
		Start: contracts.StartCommand{Agent: "a", Incarnation: 1}, Outbox: []contracts.Event{old, fresh},
	})
	if err = errors.Join(err, state.Close()); err != nil {
		t.Fatal(err)
	}
	forgotten := time.NewTimer(2 * cfg.Duplicates)
	<-forgotten.C

	h.run(h.config())
	if evs := h.stored("smith.event.agent.*.a", 2); len(evs) != 2 || evs[0].ID != old.ID || evs[1].ID != fresh.ID {
		t.Errorf("stored %+v", evs)
	}
}
