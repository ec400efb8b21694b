package contracts

import (
	"errors"
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{HeartbeatSubject("worker-1"), "smith.heartbeat.worker-1"},
		{TaskSubject("research"), "smith.task.research"},
		{EventSubject(AgentFailed, "worker-1"), "smith.event.agent.failed.worker-1"},
		{EventSubject(CustomEventType("lunch"), "x"), "smith.event.custom.lunch.x"},
		{EventTypeWildcard(AgentFailed), "smith.event.agent.failed.*"},
		{TreeWildcard("main"), "smith.event.tree.*.main"},
		{AgentPingSubject("a"), "smith.agent.a.ping"},
		{AgentTaskSubject("a"), "smith.agent.a.task"},
		{AgentStopSubject("a"), "smith.agent.a.stop"},
		{RunnerSubject("r", "start"), "smith.runner.r.start"},
		{AnnounceSubject("r"), "smith.runner.r.announce"},
		{ServiceSubject(ServiceRouter, "submit"), "smith.router.submit"},
		{DeadEventSubject("undecodable"), "smith.dead.event.undecodable"},
		{DeadTaskSubject("research"), "smith.dead.task.research"},
		{TreeStateKey("main"), "tree.main"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestEventSubjectRoundTrip(t *testing.T) {
	for _, typ := range append(EventTypes(), CustomEventType("lunch_time")) {
		got, entity, err := ParseEventSubject(EventSubject(typ, "worker-1"))
		if err != nil || got != typ || entity != "worker-1" {
			t.Errorf("%s: parsed %s, %s, %v", typ, got, entity, err)
		}
	}
}

// parsers are all that read an id from a subject.
var parsers = map[string]struct {
	make  func(id string) string
	parse func(subject string) (string, error)
}{
	"heartbeat": {HeartbeatSubject, ParseHeartbeatSubject},
	"task":      {TaskSubject, ParseTaskSubject},
	"announce":  {AnnounceSubject, ParseAnnounceSubject},
	"event": {
		func(id string) string { return EventSubject(AgentFailed, id) },
		func(s string) (string, error) { _, entity, err := ParseEventSubject(s); return entity, err },
	},
}

func TestParseSubjects(t *testing.T) {
	for name, p := range parsers {
		t.Run(name, func(t *testing.T) {
			for _, id := range []string{"a", "worker-1", strings.Repeat("x", MaxIDLength)} {
				if got, err := p.parse(p.make(id)); err != nil || got != id {
					t.Errorf("%q: parsed %q, %v", id, got, err)
				}
			}
			bad := []string{"", "smith", "smith.", "foo.heartbeat.a", "smith.heartbeat", "smith.unknown.a", "SMITH.heartbeat.a"}
			for _, id := range badIDs {
				bad = append(bad, p.make(id))
			}
			for _, subject := range append(bad, p.make("a")+".b", " "+p.make("a"), p.make("a")+"\n") {
				got, err := p.parse(subject)
				if !errors.Is(err, ErrSubject) || got != "" {
					t.Errorf("%.60q: parsed %.60q, %v; want ErrSubject", subject, got, err)
				} else if len(err.Error()) > 1024 {
					t.Errorf("%.60q: the message has %d bytes", subject, len(err.Error()))
				}
			}
		})
	}
}

func TestParseEventSubjectUnknownType(t *testing.T) {
	for _, subject := range []string{"smith.event.agent.vanished.a", "smith.event.agents.failed.a", "smith.event.agent.failed", "smith.event.agent.failed.a.b"} {
		if _, _, err := ParseEventSubject(subject); !errors.Is(err, ErrSubject) {
			t.Errorf("%s: %v, want ErrSubject", subject, err)
		}
	}
}

func fuzzParser(f *testing.F, name string) {
	p := parsers[name]
	for _, id := range append([]string{"worker-1", "a.announce"}, badIDs...) {
		f.Add(p.make(id))
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		id, err := p.parse(subject)
		if err != nil {
			if !errors.Is(err, ErrSubject) {
				t.Fatalf("%q: %v is not ErrSubject", subject, err)
			}
			return
		}
		if err := ValidateID(id); err != nil {
			t.Fatalf("%q: accepted, but %v", subject, err)
		}
		if name != "event" && p.make(id) != subject {
			t.Fatalf("%q: parsed as %q, which belongs on %q", subject, id, p.make(id))
		}
	})
}

func FuzzParseHeartbeatSubject(f *testing.F) { fuzzParser(f, "heartbeat") }
func FuzzParseTaskSubject(f *testing.F)      { fuzzParser(f, "task") }
func FuzzParseAnnounceSubject(f *testing.F)  { fuzzParser(f, "announce") }

func FuzzParseEventSubject(f *testing.F) {
	for _, typ := range EventTypes() {
		f.Add(EventSubject(typ, "worker-1"))
	}
	for _, id := range badIDs {
		f.Add(EventSubject(AgentFailed, id))
		f.Add(EventSubject(CustomEventType(id), "a"))
	}
	f.Fuzz(func(t *testing.T, subject string) {
		typ, entity, err := ParseEventSubject(subject)
		if err != nil {
			if !errors.Is(err, ErrSubject) || typ != "" || entity != "" {
				t.Fatalf("%q: %q, %q, %v", subject, typ, entity, err)
			}
			return
		}
		if back := EventSubject(typ, entity); back != subject {
			t.Fatalf("%q: parsed as %s about %s, which belongs on %q", subject, typ, entity, back)
		}
		if typ.Validate() != nil || ValidateID(entity) != nil {
			t.Fatalf("%q: accepted with %q and %q", subject, typ, entity)
		}
	})
}
