package reaper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// shutdown says that a reaper was told to end, by SIGTERM. It stays for its agents.
// Nobody has a reason to send it that, so it is a witness: a host that is shut down
// sends SIGTERM to all that it runs, and a container that is stopped often does.
type shutdown struct {
	Process process.Identity `json:"process"` // of the reaper
	// First and Last are the first and last time. A service manager may stop a service
	// before it ends all that is left.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

const (
	// shutdownSkew is by how much an agent may have got the same signal earlier, and
	// have ended.
	shutdownSkew = time.Second
	// shutdownLength is how long a shutdown takes from SIGTERM until all is killed.
	// systemd waits for 90 s.
	shutdownLength = 2 * time.Minute
)

// ended reports whether an end belongs to the shutdown. That there was one, and not
// only a signal, the caller has to know: nothing of its boot or container lives.
func (s shutdown) ended(e Exit) bool {
	return s.Process.Epoch == e.Process.Epoch && !e.At.Before(s.First.Add(-shutdownSkew)) && !e.At.After(s.Last.Add(shutdownLength))
}

// again is what a reaper knows that is told to end at a time.
func (s shutdown) again(now time.Time) shutdown {
	if now.Sub(s.Last) > shutdownLength { // that did not end the host
		s.First = now
	}
	s.Last = now
	return s
}

// shutdownFile is where reapers write down that they were told to end, in the
// directory of all of them.
const shutdownFile = "shutdown"

func (s shutdown) save(dir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, shutdownFile), b, 0o600)
}

// loadShutdown reads the latest shutdown. None, and what is not understood, is one
// that no end belongs to.
func loadShutdown(dir string) shutdown {
	b, err := os.ReadFile(filepath.Join(dir, shutdownFile))
	if err != nil {
		return shutdown{}
	}
	s, err := decodeShutdown(b)
	if err != nil {
		return shutdown{}
	}
	return s
}

func decodeShutdown(b []byte) (shutdown, error) {
	var s shutdown
	if err := json.Unmarshal(b, &s); err != nil || s.Process.Epoch == "" || s.First.IsZero() || s.Last.Before(s.First) {
		return shutdown{}, fmt.Errorf("shutdown: %w", errors.Join(errMessage, err))
	}
	return s, nil
}
