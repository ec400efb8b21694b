package contracts

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseHealthSpec(t *testing.T) {
	got, err := ParseHealthSpec(map[string]string{
		"command": "./check --fast", "interval": "2s", "timeout": "1s", "failures": "4",
		"output_within": "5m", "max_runtime": "1h", "max_memory": "2GiB",
	})
	want := &HealthSpec{
		Command: []string{"./check", "--fast"}, Interval: Duration(2 * time.Second), Timeout: Duration(time.Second), Failures: 4,
		OutputWithin: Duration(5 * time.Minute), MaxRuntime: Duration(time.Hour), MaxMemory: 2 << 30,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for words, settings := range map[string]map[string]string{
		"every: there is no such setting":         {"every": "5s", "http": "http://h"},
		"only one of them can be the check":       {"tcp": "h:1", "http": "http://h"},
		`http: "h:80" is not a URL`:               {"http": "h:80"},
		"http: has a password in it":              {"http": "http://u:p@h/"},
		`tcp: "localhost" is not an address`:      {"tcp": "localhost"},
		"interval: 1ms is too short":              {"tcp": "h:1", "interval": "1ms"},
		"failures: -1 is outside 1 to 1000":       {"tcp": "h:1", "failures": "-1"},
		"max_memory: 1024 bytes are too few":      {"max_memory": "1KiB"},
		`max_memory: "much" is not a size`:        {"max_memory": "much"},
		"are those of a check":                    {"timeout": "1s"},
		"it is empty":                             {},
		"command[1]: is empty or contains a NUL":  {"command": "a b\x00c"},
		"output_within: 1ms is too short; at lea": {"output_within": "1ms"},
	} {
		if _, err := ParseHealthSpec(settings); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: %v, want %q", settings, err, words)
		}
	}
}

func TestHealthSpecComplete(t *testing.T) {
	quick := HealthSpec{TCP: "h:1", Interval: Duration(time.Second)}.Complete()
	if quick.Timeout != quick.Interval || quick.Failures != DefaultCheckFailures {
		t.Errorf("%+v", quick)
	}
	if bounds := (HealthSpec{MaxMemory: 1 << 30}); !reflect.DeepEqual(bounds.Complete(), bounds) {
		t.Errorf("%+v", bounds.Complete())
	}
}
