package agent_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func getenv(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func TestFromEnv(t *testing.T) {
	got, err := agent.FromEnv(getenv(map[string]string{
		contracts.EnvAgent: "w1", contracts.EnvIncarnation: "7", contracts.EnvType: "coder", contracts.EnvCapabilities: "go,web",
		contracts.EnvCapacity: "4", contracts.EnvHeartbeatInterval: "1s", contracts.EnvNATSURL: "nats://a:1,nats://b:2",
		contracts.EnvNATSCreds: "/c", contracts.EnvNATSCA: "/ca",
		contracts.EnvShutdownTimeout: "10s",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Output != os.Stdout || got.Log == nil {
		t.Errorf("an agent cannot print: %v, %v", got.Output, got.Log)
	}
	got.Getenv, got.Output, got.Log = nil, nil, nil
	want := agent.Options{
		Agent: "w1", Incarnation: 7, Type: "coder", Capabilities: []string{"go", "web"}, Capacity: 4,
		HeartbeatInterval: time.Second, URL: "nats://a:1,nats://b:2", Creds: "/c", CA: "/ca",
		DrainTimeout: 7500 * time.Millisecond,
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(agent.Options{})); d != "" {
		t.Error(d)
	}
}

func TestFromEnvSaysWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		says []string
	}{
		"nothing set": {nil, []string{"SMITH_AGENT", "not set"}},
		"all wrong": {
			map[string]string{
				contracts.EnvAgent: "w1", contracts.EnvIncarnation: "-1", contracts.EnvCapacity: "many", contracts.EnvHeartbeatInterval: "5", contracts.EnvShutdownTimeout: "soon",
			},
			[]string{"SMITH_INCARNATION", "SMITH_CAPACITY", "SMITH_HEARTBEAT_INTERVAL", "SMITH_SHUTDOWN_TIMEOUT"},
		},
		"name with a dot":    {map[string]string{contracts.EnvAgent: "a.b"}, []string{"Agent", `'.'`}},
		"name of 10 KB":      {map[string]string{contracts.EnvAgent: strings.Repeat("x", 10<<10)}, []string{"10240 bytes"}},
		"capability with *":  {map[string]string{contracts.EnvAgent: "w1", contracts.EnvCapabilities: "go,*"}, []string{"capabilities[1]"}},
		"interval too short": {map[string]string{contracts.EnvAgent: "w1", contracts.EnvHeartbeatInterval: "1ns"}, []string{"SMITH_HEARTBEAT_INTERVAL", "10ms"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := agent.FromEnv(getenv(tt.env))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v: does not say %q", err, s)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzFromEnv(f *testing.F) {
	f.Add("w1", "3", "go,web", "4", "1s")
	f.Add("", "", "", "", "")
	f.Add("a.b", "-1", ",", "99999999", "-5s")
	f.Fuzz(func(t *testing.T, name, incarnation, caps, capacity, interval string) {
		o, err := agent.FromEnv(getenv(map[string]string{
			contracts.EnvAgent: name, contracts.EnvIncarnation: incarnation, contracts.EnvCapabilities: caps,
			contracts.EnvCapacity: capacity, contracts.EnvHeartbeatInterval: interval,
		}))
		if err == nil && o.Validate() != nil {
			t.Errorf("accepted what Validate refuses: %v", o.Validate())
		}
	})
}
