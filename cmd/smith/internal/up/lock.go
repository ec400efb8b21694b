package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/internal/natsd"
)

// lockDir makes this process the directory's only user for as long as it
// lives, however it ends.
func lockDir(dir string) (unlock func(context.Context) error, err error) {
	if err := natsd.CheckWritable(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock store directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("store directory %s is in use by another smith; stop it, or choose another with --store-dir", dir)
		}
		return nil, fmt.Errorf("lock store directory %s: %w", dir, err)
	}
	return func(context.Context) error { return f.Close() }, nil
}
