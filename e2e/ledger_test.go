package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// checkNothingLost fails unless the log tells of every life that the agents
// recorded themselves, once of its beginning and once of its end, and unless the
// event store gives what is in the log.
func (s *system) checkNothingLost() {
	s.t.Helper()
	want := s.lives()
	var got map[string]int
	eventually(s.t, 10*time.Second, "the log to tell of every start and end", func() bool {
		got = map[string]int{}
		for _, ev := range s.events() {
			if what := life(ev); want[what] > 0 {
				got[what]++
			}
		}
		return len(got) == len(want)
	})
	for what, n := range got {
		if n != 1 {
			s.t.Errorf("%s is in the log %d times", what, n)
		}
	}
	s.checkStore()
}

// lives are the beginnings of all agents, by their own records, and the ends of
// all but their last incarnations.
func (s *system) lives() map[string]int {
	s.t.Helper()
	out := map[string]int{}
	last := map[string]uint64{}
	for _, r := range s.readRecords() {
		if r.Event != "start" {
			continue
		}
		if before, known := last[r.Agent]; known {
			out[ended(r.Agent, before)] = 1
		}
		last[r.Agent] = r.Incarnation
		out[started(r.Agent, r.Incarnation)] = 1
	}
	if len(out) == 0 {
		s.t.Error("no agent recorded a start")
	}
	return out
}

// life is what an event of a runner tells of the life of an agent, if anything.
// Others than the runner conclude that an agent has ended; it knows.
func life(ev contracts.Event) string {
	if !strings.HasPrefix(ev.Source, contracts.ServiceRunner+"/") {
		return ""
	}
	var d struct {
		Agent       string `json:"agent"`
		Incarnation uint64 `json:"incarnation"`
	}
	_ = json.Unmarshal(ev.Data, &d)
	switch ev.Type {
	case contracts.AgentStarted:
		return started(d.Agent, d.Incarnation)
	case contracts.AgentStopped, contracts.AgentFailed:
		return ended(d.Agent, d.Incarnation)
	}
	return ""
}

func started(agent string, incarnation uint64) string {
	return fmt.Sprintf("start of %s#%d", agent, incarnation)
}

func ended(agent string, incarnation uint64) string {
	return fmt.Sprintf("end of %s#%d", agent, incarnation)
}

// checkStore fails unless the event store finds, page by page, the events of
// the stream and no others.
func (s *system) checkStore() {
	s.t.Helper()
	var log, store map[string]bool
	eventually(s.t, 20*time.Second, "the event store to have what is in the stream", func() bool {
		log, store = map[string]bool{}, map[string]bool{}
		for _, ev := range s.events() {
			log[ev.ID] = true
		}
		for cursor := uint64(0); ; {
			request, _ := json.Marshal(contracts.QueryRequest{Cursor: cursor, Limit: 1000})
			msg, err := s.nc.Request("smith.eventstore.query", request, 5*time.Second)
			if err != nil {
				return false
			}
			var page contracts.EventsReply
			if err := json.Unmarshal(msg.Data, &page); err != nil {
				s.t.Fatal(err)
			}
			for _, ev := range page.Events {
				if store[ev.Event.ID] {
					s.t.Fatalf("the event store gives %s twice", ev.Event.ID)
				}
				store[ev.Event.ID] = true
			}
			if cursor = page.Next; cursor == 0 {
				break
			}
		}
		for id := range store {
			if log[id] {
				delete(log, id)
				delete(store, id)
			}
		}
		// What was stored after the stream was read may be in the store alone.
		return len(log) == 0
	})
	for id := range store {
		found := false
		for _, ev := range s.events() {
			found = found || ev.ID == id
		}
		if !found {
			s.t.Errorf("the event store has %s, which is not in the stream", id)
		}
	}
}
