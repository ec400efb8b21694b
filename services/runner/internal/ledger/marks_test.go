package ledger

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestParseMarks(t *testing.T) {
	good := map[string]string{
		TokenVar: "t", stateVar: "/s", contracts.EnvRunner: "r", contracts.EnvAgent: "a", contracts.EnvIncarnation: "7",
		contracts.EnvShutdownTimeout: "90s", contracts.EnvNATSURL: "nats://x",
	}
	want := Marks{Token: "t", StateDir: "/s", Runner: "r", Agent: "a", NATSURL: "nats://x", Incarnation: 7, ShutdownTimeout: 90 * time.Second}
	if m, ok := ParseMarks(good); !ok || m != want {
		t.Errorf("%+v, %t", m, ok)
	}
	for name, c := range map[string]struct {
		key, value string
		ok         bool
	}{
		"no token":              {TokenVar, "", false},
		"no agent":              {contracts.EnvAgent, "", false},
		"an agent like a path":  {contracts.EnvAgent, "../../etc", false},
		"no incarnation":        {contracts.EnvIncarnation, "", false},
		"incarnation 0":         {contracts.EnvIncarnation, "0", false},
		"beyond all numbers":    {contracts.EnvIncarnation, "9007199254740993", false},
		"a timeout like a word": {contracts.EnvShutdownTimeout, "soon", true},
		"a negative timeout":    {contracts.EnvShutdownTimeout, "-5s", true},
	} {
		vars := map[string]string{}
		for k, v := range good {
			vars[k] = v
		}
		vars[c.key] = c.value
		if m, ok := ParseMarks(vars); ok != c.ok || ok && m.ShutdownTimeout != 0 {
			t.Errorf("%s: %+v, %t", name, m, ok)
		}
	}
	if IsMark("path") || !IsMark("smith_start") || !IsMark(stateVar) {
		t.Error("marks are not told from other variables")
	}
}

func FuzzParseMarks(f *testing.F) {
	f.Add("t", "/s", "r", "a", "7", "90s")
	f.Add("", "", "", "a b", "-1", "x")
	f.Fuzz(func(t *testing.T, token, dir, runner, agent, incarnation, timeout string) {
		m, ok := ParseMarks(map[string]string{
			TokenVar: token, stateVar: dir, contracts.EnvRunner: runner, contracts.EnvAgent: agent,
			contracts.EnvIncarnation: incarnation, contracts.EnvShutdownTimeout: timeout,
		})
		if ok && (contracts.ValidateID(m.Agent) != nil || m.Incarnation == 0 || m.Token == "" || m.ShutdownTimeout < 0) {
			t.Errorf("%+v", m)
		}
	})
}
