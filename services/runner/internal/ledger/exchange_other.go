//go:build !linux

package ledger

import "os"

// exchange has a file take another's place.
func exchange(from, to string) error { return os.Rename(from, to) }
