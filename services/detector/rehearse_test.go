package detector_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// recording reads all that the detector remembers, in small pages, as a file.
func (r *rig) recording(agents ...string) []byte {
	r.t.Helper()
	var file bytes.Buffer
	lines := json.NewEncoder(&file)
	for after := uint64(0); ; {
		page, err := call[contracts.RecordingReply](r, "recording", contracts.RecordingRequest{Agents: agents, After: after, Limit: 7})
		if err != nil {
			r.t.Fatal(err)
		}
		if after == 0 {
			if err := lines.Encode(detector.RecordingHeader{Format: detector.RecordingFormat, Detector: page.Detector, Settings: page.Settings}); err != nil {
				r.t.Fatal(err)
			}
		}
		for _, e := range page.Entries {
			if err := lines.Encode(e); err != nil {
				r.t.Fatal(err)
			}
		}
		if after = page.Next; !page.More {
			return file.Bytes()
		}
	}
}

func rehearse(t *testing.T, file []byte, change func(*detector.Config)) detector.Rehearsed {
	t.Helper()
	rec, err := detector.ReadRecording(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	cfg := rec.Settings()
	if change != nil {
		change(&cfg)
	}
	out, err := detector.Rehearse(rec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What was lived through comes out again, and other settings are tried out on
// it.
func TestRecordingIsRehearsed(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{FailureThreshold: 4, Agents: map[string]detector.AgentRules{"calm": {PhiThreshold: 7}, "other": {PhiThreshold: 9}}})
		r.started("mute", 1, 10*time.Second)
		calm := r.beat("calm", time.Second, `{"interval":"1s"}`)
		stop := r.beat("pausing", time.Second, `{"interval":"1s"}`)
		r.wait(60 * time.Second)
		stop()
		r.wait(9 * time.Second)
		r.s.Down()
		r.wait(20 * time.Second)
		r.s.Up(r.t)
		r.wait(10 * time.Second)
		r.beat("pausing", time.Second, `{"interval":"1s"}`)
		r.wait(60 * time.Second)
		calm()
		r.wait(30 * time.Second)

		lived := map[string]int{}
		for _, ev := range r.events() {
			lived[ev.Type.Name()+" "+ev.Entity]++
		}
		all := rehearse(t, r.recording(), nil)
		got := map[string]int{}
		for _, a := range all.Agents {
			got["failed "+a.Agent], got["recovered "+a.Agent] = a.Verdicts, a.Mistakes
		}
		for _, key := range []string{"failed calm", "failed pausing", "failed mute", "recovered calm", "recovered pausing", "recovered mute"} {
			if lived[key] != got[key] {
				t.Errorf("%s: %d times lived, %d times rehearsed", key, lived[key], got[key])
			}
		}
		if lived["recovered pausing"] != 1 || all.Settings.FailureThreshold != 4 {
			t.Errorf("%v, %+v", lived, all.Settings)
		}
		alone := r.recording("pausing")
		if rec := rehearse(t, alone, nil); len(rec.Agents) != 1 || rec.All.Mistakes != 1 || len(rec.Settings.Agents) != 0 {
			t.Errorf("%+v", rec)
		}
		patient := rehearse(t, alone, func(c *detector.Config) { c.Algorithm, c.PhiThreshold = "fixed", 200 })
		if patient.All.Verdicts != 0 || patient.All.Mean < 199 {
			t.Errorf("%+v", patient.All)
		}
		if one := rehearse(t, r.recording("calm"), nil); one.Settings.Agents["calm"].PhiThreshold != 7 || len(one.Settings.Agents) != 1 {
			t.Errorf("%+v", one.Settings)
		}
	})
}

func TestExplain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.detect(detector.Config{})
		r.beat("a", time.Second, `{"interval":"1s"}`)
		r.wait(400*time.Second + 300*time.Millisecond)
		e, err := call[contracts.ExplainReply](r, "explain", contracts.AgentRequest{Agent: "a"})
		if err != nil {
			t.Fatal(err)
		}
		v := e.View
		if len(e.Recent) < 395 || e.Recent[0].D() != time.Second || len(e.Levels) != 12 || e.Settings.Algorithm != "tail" ||
			v.FailedAfter < v.DegradedAfter || v.DegradedAfter.D() < time.Second || v.FailedAfter.D() > 2*time.Second ||
			(v.Silence.D()-300*time.Millisecond).Abs() > 50*time.Millisecond || v.Rule != "phi" {
			t.Errorf("%+v, %d intervals", e.View, len(e.Recent))
		}
		for i, l := range e.Levels[1:] {
			if l.After < e.Levels[i].After || l.Phi != e.Levels[i].Phi+1 {
				t.Errorf("levels %+v", e.Levels)
			}
		}
		var refused interface{ Error() string }
		if _, err = call[contracts.ExplainReply](r, "explain", contracts.AgentRequest{Agent: "nobody"}); !errors.As(err, &refused) {
			t.Error("an unknown agent is explained")
		}
		for _, bad := range []contracts.RecordingRequest{{Limit: -1}, {Limit: 5000}, {Agents: []string{"a.b"}}, {Agents: make([]string, 200)}} {
			if _, err := call[contracts.RecordingReply](r, "recording", bad); err == nil {
				t.Errorf("%+v is answered", bad)
			}
		}
	})
}

const header = `{"format":"smith-recording/1","detector":"d","taken":"2026-01-01T00:00:00Z","settings":{"algorithm":"tail"}}` + "\n"

func TestBadRecordings(t *testing.T) {
	beat := func(at, agent string) string {
		return fmt.Sprintf(`{"at":%q,"kind":"beat","agent":%q}`, at, agent) + "\n"
	}
	for _, c := range []struct{ file, want string }{
		{"", "does not begin"},
		{"{}\n", "line 1: it does not begin"},
		{"hello\n", "line 1: it does not begin"},
		{header + "{\n", "line 2: "},
		{header + `{"at":"1s","kind":"sneeze"}` + "\n", `line 2: kind: "sneeze"`},
		{header + beat("1s", "a.b"), "line 2: agent: "},
		{header + beat("2s", "a") + beat("1s", "a"), "line 3: at: 1s is before"},
		{header + beat("1s", "a") + beat("8760h", "a"), "line 3: at: 8760h0m0s is more than"},
		{header + `{"at":"1s","kind":"beat","agent":"a","interval":"-1s"}` + "\n", "line 2: at, for and interval"},
		{header + strings.Repeat("x", 1<<17) + "\n", "line 2 has more than"},
	} {
		_, err := detector.ReadRecording(strings.NewReader(c.file))
		if !errors.Is(err, detector.ErrRecording) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: %v; want %q", c.file, err, c.want)
		}
	}
	// Of a recorder that was killed while it wrote.
	rec, err := detector.ReadRecording(strings.NewReader(header + beat("1s", "a") + `{"at":"2s","ki`))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := detector.Rehearse(rec, rec.Settings()); err != nil || out.All.Heartbeats != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := detector.Rehearse(rec, detector.Config{Algorithm: "magic"}); err == nil {
		t.Error("rehearsed with magic")
	}
}

// Whatever file is read, it can be rehearsed or says why not.
func FuzzReadRecording(f *testing.F) {
	f.Add(header + `{"at":"1s","kind":"beat","agent":"a","interval":"1s"}` + "\n" + `{"at":"1m","kind":"stalled","for":"50s"}` + "\n")
	f.Add(header + `{"at":"1s","kind":"started","agent":"a","incarnation":1,"for":"3s"}` + "\n" + `{"at":"9s","kind":"ended","agent":"a","incarnation":1}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		rec, err := detector.ReadRecording(strings.NewReader(text))
		if err != nil || len(text) > 4096 || rec.Length() > time.Hour {
			return
		}
		cfg := detector.Config{}
		one, err := detector.Rehearse(rec, cfg)
		if err != nil {
			t.Fatal(err)
		}
		two, err := detector.Rehearse(rec, cfg)
		if err != nil || !cmp.Equal(one, two) {
			t.Fatalf("not the same twice: %v", err)
		}
	})
}
