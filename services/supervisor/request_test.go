package supervisor

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/decisionlog"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/history"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/proposals"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// FuzzAddRequest: what is accepted is a sound agent under the supervisor named,
// which a runner can be told to start.
func FuzzAddRequest(f *testing.F) {
	f.Add([]byte(`{"parent":"single","child":{"name":"n","command":["x","-f"],"env":{"A":"b"},"capacity":3,"runner_labels":{"gpu":"yes"}}}`))
	f.Add([]byte(`{"parent":"single","child":{"name":"n","command":["x"],"restart":"transient","significant":true,"policy":"nope","start_deadline":"1h"}}`))
	f.Add([]byte(`{"parent":"single","child":{"name":"n","runner":"r1","heartbeats":"runner","shutdown_timeout":"-1s"}}`))
	f.Add([]byte(`{"parent":"a.b","child":{"name":""}}`))
	f.Add([]byte(`{"child":null}`))
	f.Add([]byte(`[]`))
	file, err := config.Parse("test.yaml", []byte(threeGroups))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var req contracts.AddRequest
		if json.Unmarshal(body, &req) != nil {
			return
		}
		s, vars, err := child(file, req)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("refused without a word")
			}
			return
		}
		if s.ID != req.Child.Name || s.Parent != req.Parent || s.Validate() != nil {
			t.Fatalf("accepted %+v", s)
		}
		var start contracts.StartCommand
		if err := json.Unmarshal(s.Agent.Start, &start); err != nil {
			t.Fatal(err)
		}
		if start.Env != nil {
			t.Fatalf("the environment is in the specification: %s", s.Agent.Start)
		}
		start.Agent, start.Incarnation, start.Env = s.ID, 1, vars
		if len(start.Command) > 0 && start.Validate() != nil {
			t.Fatalf("no runner takes %+v: %v", start, start.Validate())
		}
	})
}

// FuzzPastRequests: requests for proposals and rehearsals are refused, or bound
// what is read and answered.
func FuzzPastRequests(f *testing.F) {
	f.Add([]byte(`{"node":"web","from":{"at":"2026-03-01T11:00:00Z"},"to":{"sequence":12},"limit":10}`))
	f.Add([]byte(`{"from":{"sequence":1},"to":{"at":"9999-12-31T23:59:59Z"},"limit":1001,"beyond":"repeat"}`))
	f.Add([]byte(`{"from":{"at":"0001-01-01T00:00:00Z","sequence":18446744073709551615},"to":{"at":null},"limit":-1}`))
	f.Add([]byte(`{"at":"2026-03-01T13:00:00+14:00","limit":0,"config":"supervision_tree: {tree: [{name: a, command: [x]}]}"}`))
	f.Add([]byte(`{"to":{},"from":[],"config":"supervision_tree: ["}`))
	f.Add([]byte(`null`))
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	decision := &decisionlog.Decision{Number: 1, At: tree.Instant(noon.UnixNano()), Sequence: 12}
	f.Fuzz(func(t *testing.T, body []byte) {
		var asked contracts.ProposalsRequest
		if json.Unmarshal(body, &asked) == nil {
			limit, err := proposalsLimit(asked)
			if err == nil && (limit < 1 || limit > maxProposals) || err != nil && !strings.Contains(err.Error(), "limit") {
				t.Fatalf("limit %d becomes %d, %v", asked.Limit, limit, err)
			}
			if reply := new(proposals.Ledger).Reply(limit); len(reply.Proposals) > limit {
				t.Fatalf("%d proposals", len(reply.Proposals))
			}
		}
		var rehearse contracts.RehearseRequest
		if json.Unmarshal(body, &rehearse) == nil {
			now := tree.Instant(noon.Add(time.Hour).UnixNano())
			rec := record(history.State{Mark: contracts.TreeMark{Decision: 1, Sequence: 12, At: noon}}, []*decisionlog.Decision{decision}, rehearse, now)
			if rec.To < tree.Instant(noon.UnixNano()) || rec.To > now {
				t.Fatalf("from %s to %s: until %s", describe(rehearse.From), describe(rehearse.To), rec.To.Time())
			}
			if to := rehearse.To; (to.IsZero() || to.Sequence == 0 && to.At.After(now.Time())) && rec.To != now {
				t.Fatalf("to %s: until %s, which is not now", describe(to), rec.To.Time())
			}
			if specs, err := configured("new.yaml", rehearse.Config, "main"); err == nil && tree.ValidateTree(specs) != nil {
				t.Fatalf("accepted %s", rehearse.Config)
			}
		}
	})
}
