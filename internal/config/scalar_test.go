package config

import "testing"

func TestEnumSpellings(t *testing.T) {
	for _, s := range []string{"OneForAll", "one_for_all", "one-for-all", "ONE_FOR_ALL", "oneForAll", "One For All"} {
		if got, ok := ParseStrategy(s); !ok || got != OneForAll {
			t.Errorf("%q: %q, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "one_for", "one_for_alll"} {
		if got, ok := ParseStrategy(s); ok {
			t.Errorf("%q was taken as %q", s, got)
		}
	}
	if got, ok := ParseRestart("Transient"); !ok || got != Transient {
		t.Errorf("got %q, %v", got, ok)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"heartbeat_interval", "phi_threshold", "min_samples", "type", "env"}
	for word, want := range map[string]string{
		"hearbeat_interval":  "heartbeat_interval",
		"heartbeatInterval":  "heartbeat_interval",
		"phi-treshold":       "phi_threshold",
		"min_sample":         "min_samples",
		"tpye":               "type",
		"evn":                "env",
		"colour":             "",
		"":                   "",
		"something_else_yet": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, not %q", word, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1048576": 1 << 20, "10GiB": 10 << 30, "5 MB": 5e6, "0": 0, "2TiB": 2 << 40} {
		f, err := Parse("c", []byte("supervision_tree: {event_store: {max_bytes: "+text+"}}"))
		if err != nil || f.EventStore.MaxBytes != want {
			t.Errorf("%s: %v, %v", text, f, err)
		}
	}
	for _, text := range []string{"-1", "1.5GiB", "10XB", "99999999TiB", "5B"} {
		if _, err := Parse("c", []byte("supervision_tree: {event_store: {max_bytes: "+text+"}}")); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
