package output

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// series is what is known of the failures of an agent, in a file with its output.
type series struct {
	// First is the first failed incarnation of a series: those after it have
	// failed, too. It stays until another series begins.
	First uint64 `json:"first"`
	// Failing says that the last incarnation that ended has failed.
	Failing bool `json:"failing"`
}

// steady is how long an incarnation must have lived for its failure to begin
// another series.
const steady = 10 * time.Minute

// after is the series after an incarnation has ended.
func (s series) after(incarnation uint64, failed bool, lived time.Duration) series {
	switch {
	case !failed:
		return series{s.First, false}
	case !s.Failing || lived >= steady:
		return series{incarnation, true}
	}
	return s
}

const seriesFile = "series.json"

// loadSeries reads the series of an agent; one that cannot be read is none.
func loadSeries(dir string) (s series) {
	b, err := os.ReadFile(filepath.Join(dir, seriesFile))
	if err != nil || json.Unmarshal(b, &s) != nil {
		return series{}
	}
	return s
}

// NoteEnd records how an incarnation has ended, so that the output of the first
// failure of a series is kept.
func NoteEnd(dir string, incarnation uint64, failed bool, lived time.Duration) error {
	before := loadSeries(dir)
	after := before.after(incarnation, failed, lived)
	if after == before {
		return nil
	}
	b, err := json.Marshal(after)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, seriesFile), b, 0o600)
	}
	return err
}
