package contracts

import "testing"

func TestHeartbeatConnection(t *testing.T) {
	for _, c := range []struct {
		name        string
		agent       string
		incarnation uint64
		ok          bool
	}{
		{"smith.heartbeat.worker-1", "worker-1", 0, true},
		{"smith.heartbeat.worker-1#3", "worker-1", 3, true},
		{"smith.heartbeat.worker-1#", "", 0, false},
		{"smith.heartbeat.worker-1#0", "", 0, false},
		{"smith.heartbeat.worker-1#03", "", 0, false},
		{"smith.heartbeat.worker-1#18446744073709551616", "", 0, false},
		{"smith.heartbeat.a.b", "", 0, false},
		{"smith.heartbeat.", "", 0, false},
		{"NATS CLI Version 0.4.0", "", 0, false},
		{"", "", 0, false},
	} {
		agent, incarnation, ok := ParseHeartbeatConnection(c.name)
		if agent != c.agent || incarnation != c.incarnation || ok != c.ok {
			t.Errorf("%q: %q, %d, %t", c.name, agent, incarnation, ok)
		}
	}
}

func FuzzHeartbeatConnection(f *testing.F) {
	for _, name := range []string{"smith.heartbeat.a", "smith.heartbeat.a#1", "smith.heartbeat.a#-1", "x#y", "##"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		agent, incarnation, ok := ParseHeartbeatConnection(name)
		if ok && (ValidateID(agent) != nil || HeartbeatConnection(agent, incarnation) != name) {
			t.Errorf("%q is read as %q, %d", name, agent, incarnation)
		}
	})
}

func TestCanarySubject(t *testing.T) {
	instance, err := ParseCanarySubject(CanarySubject("detector-1"))
	if err != nil || instance != "detector-1" {
		t.Errorf("%q, %v", instance, err)
	}
	if _, err := ParseCanarySubject("smith.heartbeat.canary"); err == nil {
		t.Error("an agent named canary is taken for one")
	}
}
