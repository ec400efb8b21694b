package detector_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// foreign lets an instance of acme's agent main beat once a second.
func (r *rig) foreign(instance string) (stop func()) {
	body := fmt.Sprintf(`{"agent":"claude-code","owner":"acme","instance_id":%q,"ts":"2026-04-21T14:23:01Z","interval_s":1}`, instance)
	return r.beatAt("agents.hb.cc.acme.main", time.Second, body)
}

func TestSynadiaAgents(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{Synadia: &detector.Synadia{}})
		stop := r.foreign("one")
		r.wait(30 * time.Second)
		v, err := call[contracts.AgentView](r, "status", contracts.AgentRequest{Agent: "cc-acme-main"})
		if err != nil || v.Health != contracts.HealthHealthy || v.Interval.D() != time.Second || v.Type != "claude-code" {
			t.Errorf("status %+v, %v", v, err)
		}
		stop()
		r.wait(10 * time.Second)
		story := []string{"created", "state_changed healthy", "state_changed degraded", "failed heartbeat_timeout", "state_changed unhealthy"}
		r.expect("cc-acme-main", story...)
		stop = r.foreign("two")
		r.wait(5 * time.Second)
		story = append(story, "created", "state_changed healthy")
		r.expect("cc-acme-main", story...)
		old := r.foreign("one") // beside its successor
		for range 30 {
			_ = r.nc.Publish("agents.hb.cc.acme.main", []byte("garbage"))
			_ = r.nc.Publish("agents.hb.cc.ac@me.main", nil)
			r.wait(time.Second)
		}
		story = append(story, "conflict")
		r.expect("cc-acme-main", story...)
		old()
		stop()
		r.wait(10 * time.Second)
		r.expect("cc-acme-main", append(story, "state_changed degraded", "failed heartbeat_timeout", "state_changed unhealthy")...)
		said := ""
		for _, ev := range r.events() {
			if ev.Type == contracts.SystemMessageRejected || ev.Type == contracts.AgentConflict {
				said += string(ev.Data) + "\n"
			}
		}
		for _, want := range []string{"no heartbeat of the Synadia Agent Protocol", `two processes beat as cc-acme-main: instance \"two\", which counts, and \"one\"`} {
			if !strings.Contains(said, want) {
				t.Errorf("nobody was told %q; only\n%s", want, said)
			}
		}
	})
}

// Without the section nobody listens to them.
func TestSynadiaIsOffByDefault(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.FromFile(config.Default()))
		r.foreign("one")
		r.wait(5 * time.Second)
		r.expect("cc-acme-main")
	})
}

func TestSynadiaConfig(t *testing.T) {
	f, err := config.Parse("x.yaml", []byte("supervision_tree: {synadia: {subject: agents.hb.*.acme.*, agent_id: '{name}'}}"))
	if err != nil {
		t.Fatal(err)
	}
	if c := detector.FromFile(f); c.Synadia == nil || *c.Synadia != (detector.Synadia{Subject: "agents.hb.*.acme.*", AgentID: "{name}"}) || c.Validate() != nil {
		t.Errorf("%+v", c.Synadia)
	}
	for _, c := range []detector.Synadia{{Subject: "a.b"}, {AgentID: "all"}} {
		if err := (detector.Config{Synadia: &c}).Validate(); err == nil || !strings.Contains(err.Error(), "synadia: ") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
