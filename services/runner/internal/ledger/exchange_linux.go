package ledger

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange gives each of two files the other's name. Where there is no other, or the
// file system cannot do that, the first takes the other's place.
func exchange(from, to string) error {
	if unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE) == nil {
		return nil
	}
	return os.Rename(from, to)
}
