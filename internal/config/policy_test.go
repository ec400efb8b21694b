package config

import (
	"testing"
	"time"
)

func TestDefaultPolicies(t *testing.T) {
	f := Default()
	f.RestartPolicies = map[string]RestartPolicy{"coder": {MaxRestarts: 7}}
	given := &Node{Policy: RestartPolicy{MaxRestarts: 9}, PolicyName: "mine", policyGiven: true}
	for _, c := range []struct {
		name       string
		typ        string
		supervisor bool
		parent     *Node
		max        int
		policy     string
	}{
		{"worker", "worker", false, nil, 3, ""},
		{"supervisor", "supervisor", true, nil, 5, ""},
		{"by type", "coder", false, given, 7, "coder"},
		{"the parent's", "worker", false, given, 9, "mine"},
		{"a parent that names none", "worker", false, &Node{}, 3, ""},
		{"supervisors do not share their parent's", "supervisor", true, given, 5, ""},
	} {
		if p, name := f.PolicyFor(c.typ, c.supervisor, c.parent); p.MaxRestarts != c.max || name != c.policy {
			t.Errorf("%s: got %d of %q", c.name, p.MaxRestarts, name)
		}
	}
	f.RestartPolicies["default"] = RestartPolicy{MaxRestarts: 11}
	for _, supervisor := range []bool{true, false} {
		if p, name := f.PolicyFor("x", supervisor, nil); p.MaxRestarts != 11 || name != "default" {
			t.Errorf("the file's default is not used: %d of %q", p.MaxRestarts, name)
		}
	}
}

func TestTimeoutsNearestWins(t *testing.T) {
	f, err := Load("testdata/good/requirements.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		service, op string
		want        time.Duration
	}{
		{"database_service", "query", 2 * time.Second},
		{"database_service", "other", 10 * time.Second},
		{"agent_service", "query", 30 * time.Second}, // another service's operation
		{"query", "query", time.Minute},              // an operation's name is no service's
		{"", "", time.Minute},
	} {
		if got := f.Timeouts.For(c.service, c.op); got != c.want {
			t.Errorf("%s::%s: %v, not %v", c.service, c.op, got, c.want)
		}
	}
}
