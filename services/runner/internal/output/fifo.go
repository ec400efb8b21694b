package output

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openFIFO opens a FIFO for reading without waiting, and makes it where there is
// none. It is opened for writing, too, so that it has no end while nobody writes.
func openFIFO(path string) (*os.File, error) {
	err := unix.Mkfifo(path, 0o600)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make FIFO %s for output: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s for output: %w", path, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		err = errors.New("it is not a FIFO; remove it")
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("FIFO %s for output: %w", path, err)
	}
	enlarge(fd)
	return os.NewFile(uintptr(fd), path), nil // watched by the runtime's poller, as it does not block
}

// openEnd opens the end that an agent writes to. It is open for reading, too, so
// that writing is no error when nobody else reads; and it blocks, as programs
// expect of their output.
func openEnd(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s for output: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
