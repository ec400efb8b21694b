package config

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironmentOverrides(t *testing.T) {
	f, err := ParseEnv("c.yaml", []byte("supervision_tree:\n  failure_detection: {phi_threshold: 4, min_samples: 5}\n"), []string{
		"SMITH_FAILURE_DETECTION_PHI_THRESHOLD=12.5",
		"SMITH_VERIFICATION_ALLOW_DEGRADED=false",
		"SMITH_TIMEOUTS_GLOBAL=20s",
		"SMITH_EVENT_STORE_MAX_BYTES=1GiB",
		"SMITH_ROUTING_DEFAULT_AGENT=generalist",
		"SMITH_AGENT=mine-is-not-a-setting",
		"HOME=/",
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.FailureDetection.PhiThreshold != 12.5 || f.FailureDetection.MinSamples != 5 {
		t.Errorf("detection: %+v", f.FailureDetection)
	}
	if f.Verification.AllowDegraded || f.Timeouts.Global.String() != "20s" || f.EventStore.MaxBytes != 1<<30 || f.Routing.DefaultAgent != "generalist" {
		t.Errorf("others: %+v %+v %+v %+v", f.Verification, f.Timeouts, f.EventStore, f.Routing)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	_, err := ParseEnv("c.yaml", []byte("supervision_tree: {nme: x}"), []string{
		"SMITH_FAILURE_DETECTION_PHI_TRESHOLD=12",
		"SMITH_FAILURE_DETECTION_MIN_SAMPLES=many",
		"SMITH_TIMEOUTS_SERVICES=5s",
	})
	var problems Errors
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	want := `environment: SMITH_FAILURE_DETECTION_MIN_SAMPLES: a whole number is needed, not "many"
environment: SMITH_FAILURE_DETECTION_PHI_TRESHOLD: sets nothing; did you mean "SMITH_FAILURE_DETECTION_PHI_THRESHOLD"?
environment: SMITH_TIMEOUTS_SERVICES: a mapping (key: value) is needed, not "5s"
c.yaml:1:20: supervision_tree: unknown key "nme"; did you mean "name"?`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

// A file that does not exist, and one that is no file, say so.
func TestLoadUnreadable(t *testing.T) {
	for _, path := range []string{"testdata/none.yaml", "testdata"} {
		if f, err := Load(path); err == nil || f != nil {
			t.Errorf("%s: got %v, %v", path, f, err)
		}
	}
}
