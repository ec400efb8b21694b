package watch

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/connection"
	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// What a server says of connections reads the same when it is said again, and
// whatever order it comes in, a connection that was closed is not kept.
func FuzzAdvisory(f *testing.F) {
	f.Add([]byte(`{"server":{"id":"S"},"client":{"id":7,"name":"smith.heartbeat.a#3","host":"127.0.0.1","start":"2026-01-02T15:04:05Z"}}`), true)
	f.Add([]byte(`{"server":{"id":"S"},"client":{"id":7,"name":"smith.heartbeat.a"},"reason":"Client Closed"}`), false)
	f.Add([]byte(`{"client":{"start":"no time"}}`), true)
	f.Add([]byte(`null`), false)
	f.Fuzz(func(t *testing.T, body []byte, opened bool) {
		a, err := decodeAdvisory(body)
		if err != nil {
			return
		}
		again := encode(t, a)
		if b, err := decodeAdvisory(again); err == nil && string(encode(t, b)) != string(again) {
			t.Fatalf("%s became %s", again, encode(t, b))
		}
		agent, incarnation, beats := contracts.ParseHeartbeatConnection(a.Client.Name)
		if !beats {
			return
		}
		if err := contracts.ValidateID(agent); err != nil {
			t.Fatalf("an agent named %q: %v", agent, err)
		}
		book := connection.New(2)
		if opened {
			book.Opened(agent, incarnation, connection.Conn{Server: a.Server.ID, ID: a.Client.ID})
		}
		book.Closed(1, agent, incarnation, a.Server.ID, a.Client.ID, time.Second)
		lost := book.Due(1 + time.Second)
		if len(lost) != 1 || lost[0].Agent != agent || lost[0].Incarnation != incarnation || len(book.Of(agent)) != 0 {
			t.Fatalf("%s: lost %+v, open %+v", body, lost, book.Of(agent))
		}
	})
}

// A rule that is taken is one that the API would take and store, reads the same
// when it is stored again, and can be followed.
func FuzzRule(f *testing.F) {
	f.Add("a", []byte(`{"interval":"1s","start_deadline":"30s","threshold":8}`))
	f.Add("a", []byte(`{"ignored":true,"threshold":-1,"interval":"-1s"}`))
	f.Add("a.b", []byte(`{}`))
	f.Add("a", []byte(`{"interval":"1ns","threshold":1e300}`))
	f.Add("a", []byte(`null`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		key := contracts.DetectorRuleKey(name)
		agent, rule, err := decodeRule(key, value)
		if err != nil {
			return
		}
		if agent != name || contracts.ValidateID(agent) != nil {
			t.Fatalf("the rule of %q is for %q", name, agent)
		}
		if err := checkMonitoring(rule.Monitoring(agent)); err != nil {
			t.Fatalf("accepted %+v: %v", rule, err)
		}
		if _, again, err := decodeRule(key, encode(t, rule)); err != nil || again != rule {
			t.Fatalf("%+v became %+v, %v", rule, again, err)
		}
		core, err := fleet.New(fleet.Config{})
		if err != nil {
			t.Fatal(err)
		}
		(&Watcher{}).rule(core, 1, agent, rule, true)
		if v, known := core.Agent(1, agent); known == rule.Ignored {
			t.Fatalf("after %+v the agent is %+v, known: %v", rule, v, known)
		}
	})
}

// An answer says that one life is alive, or whatever life was asked.
func FuzzPong(f *testing.F) {
	f.Add([]byte(`{"incarnation":3,"status":"running","in_flight":1}`), uint64(3))
	f.Add([]byte(`{"incarnation":-1}`), uint64(1))
	f.Add([]byte(``), uint64(1))
	f.Fuzz(func(t *testing.T, body []byte, incarnation uint64) {
		alive := 0
		for i := range uint64(3) {
			if pong(body, incarnation+i) == fleet.Alive {
				alive++
			}
		}
		if alive == 2 {
			t.Fatalf("%s: two of three lives are alive", body)
		}
		if pong(encode(t, contracts.PingReply{Incarnation: incarnation}), incarnation) != fleet.Alive {
			t.Fatalf("the answer of incarnation %d does not count", incarnation)
		}
	})
}

// A request to monitor is refused with a code, or becomes a rule that holds.
func FuzzMonitorRequest(f *testing.F) {
	f.Add([]byte(`{"agent":"a","interval":"1s","start_deadline":"30s","threshold":8}`))
	f.Add([]byte(`{"agent":"a","interval":"-1s"}`))
	f.Add([]byte(`{"agent":"a b","threshold":-0}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r contracts.MonitorRequest
		if json.Unmarshal(body, &r) != nil {
			return
		}
		if err := checkMonitorRequest(r); err != nil {
			refused(t, err)
			return
		}
		if agent, stored, err := decodeRule(contracts.DetectorRuleKey(r.Agent), encode(t, ruleOf(r))); err != nil || agent != r.Agent || stored != ruleOf(r) {
			t.Fatalf("%+v is stored as %+v for %q: %v", r, stored, agent, err)
		}
	})
}

// Whatever page is asked for: it is within its limit, in order, begins after
// what it shall begin after, and the pages together are all agents asked for.
func FuzzAgentsRequest(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"after":"a-1","limit":2,"type":"coder","health":"healthy"}`))
	f.Add([]byte(`{"limit":5001}`))
	f.Add([]byte(`{"health":"splendid"}`))
	core, err := fleet.New(fleet.Config{})
	if err != nil {
		f.Fatal(err)
	}
	names := []string{"a-1", "a-2", "a-3", "b", "c"}
	for _, name := range names {
		core.Monitor(1, name, fleet.Monitoring{})
	}
	crowd, err := correlation.New(correlation.Config{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	w := &Watcher{origin: time.Now(), fleet: core, crowd: crowd}
	f.Fuzz(func(t *testing.T, body []byte) {
		var r contracts.AgentsRequest
		if json.Unmarshal(body, &r) != nil {
			return
		}
		first := r.After
		var got []string
		for range len(names) + 1 {
			page, err := w.list(t.Context(), r)
			if err != nil {
				refused(t, err)
				return
			}
			if r.Limit > 0 && len(page.Agents) > r.Limit {
				t.Fatalf("%d agents; the limit is %d", len(page.Agents), r.Limit)
			}
			for _, a := range page.Agents {
				got = append(got, a.Agent)
			}
			if r.After = page.Next; r.After == "" {
				break
			}
		}
		want := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n <= first })
		if r.Type != "" || r.Health != "" {
			want = slices.DeleteFunc(want, func(n string) bool { return !slices.Contains(got, n) })
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %v, not %v", body, got, want)
		}
	})
}

// refused checks that a refusal is one that the requester can be told.
func refused(t *testing.T, err error) {
	t.Helper()
	var told *shell.APIError
	if !errors.As(err, &told) || told.Code != contracts.CodeBadRequest || told.Message == "" {
		t.Fatalf("refused with %T: %v", err, err)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
