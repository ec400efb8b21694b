package ledger

import (
	"errors"
	"os"
	"path/filepath"
)

// replace writes a file so that every process finds it wholly old or wholly new. What
// was there before is kept beside it, and is the file that the next call writes to: a
// file system takes ten times as long for a new file that takes the place of another.
func replace(path string, b []byte, sync bool) error {
	spare := path + ".before"
	err := overwrite(spare, b, sync)
	if err == nil {
		err = exchange(spare, path)
	}
	if err != nil || !sync {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func overwrite(path string, b []byte, sync bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
