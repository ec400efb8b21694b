package output

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// allocated is the disk space a file takes, which is less than its size once
// its head is freed.
func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// freeHead gives the first n bytes back to the file system while the writer
// goes on: unlike copying and truncating it loses nothing written meanwhile.
func freeHead(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.Truncate(0)
	}
	return err
}
