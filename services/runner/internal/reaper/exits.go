package reaper

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// exits is a directory of statuses that no runner has taken, by token.
type exits string

// save writes a status down. It outlives every process, but not a loss of power,
// which no agent outlives.
func (dir exits) save(token string, e Exit) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return os.WriteFile(dir.file(token), b, 0o600)
}

func (dir exits) remove(token string) error {
	err := os.Remove(dir.file(token))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// load reads one status. A file cut short is none.
func (dir exits) load(token string) (Exit, bool) {
	b, err := os.ReadFile(dir.file(token))
	if err != nil {
		return Exit{}, false
	}
	e, err := decodeExit(b)
	return e, err == nil
}

// all reads every status.
func (dir exits) all() map[string]Exit {
	entries, _ := os.ReadDir(string(dir))
	found := map[string]Exit{}
	for _, e := range entries {
		if exit, ok := dir.load(e.Name()); ok && validToken(e.Name()) {
			found[e.Name()] = exit
		}
	}
	return found
}

func (dir exits) file(token string) string { return filepath.Join(string(dir), token) }
