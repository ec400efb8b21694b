package reaper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxOutput bounds what is kept of a program's output: as much as its FIFO holds.
// What is printed beyond that stays there.
const maxOutput = 1 << 20

// outputs is a directory of what programs printed last, by token: what was in a FIFO
// when its program ended and no runner lived to read it.
type outputs string

func (dir outputs) file(token string) string { return filepath.Join(string(dir), token) }

func (dir outputs) remove(token string) { _ = os.Remove(dir.file(token)) }

// tidy removes what was kept of programs that nobody knows.
func (dir outputs) tidy(known func(token string) bool) {
	entries, _ := os.ReadDir(string(dir))
	for _, e := range entries {
		if !known(e.Name()) {
			dir.remove(e.Name())
		}
	}
}

// hold keeps the FIFO open that a program prints to: what is in it would go with
// the last that has it open.
func (s *server) hold(token string, output *os.File) {
	var st unix.Stat_t
	if err := unix.Fstat(int(output.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return
	}
	// Opened again: whether it blocks is the program's matter there.
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(output.Fd())), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		s.complain(fmt.Errorf("what %s prints is not kept while no runner lives: %w", token, err))
		return
	}
	s.held[token] = fd
}

// release ends hold; what was kept is not needed.
func (s *server) release(token string) {
	if fd, ok := s.held[token]; ok {
		_ = unix.Close(fd)
		delete(s.held, token)
	}
	s.outputs.remove(token)
}

// keepOutput moves what is in a program's FIFO to a file, while no runner lives that
// reads it. What does not fit stays there.
func (s *server) keepOutput(token string) error {
	fd, ok := s.held[token]
	if !ok || s.runner != nil {
		return nil
	}
	waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil || waiting == 0 {
		return err
	}
	f, err := os.OpenFile(s.outputs.file(token), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for at := info.Size(); at < maxOutput; {
		n, err := unix.Splice(fd, nil, int(f.Fd()), &at, int(maxOutput-at), unix.SPLICE_F_NONBLOCK)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), err == nil && n == 0:
			return nil
		case err != nil:
			return fmt.Errorf("keep what a program printed: %w", err)
		}
	}
	return nil
}

// keepOutputs is keepOutput for all programs that have ended: what they left behind
// may have printed since.
func (s *server) keepOutputs() {
	for token := range s.ended {
		if s.keepOutput(token) != nil {
			s.save(token) // says why, and is tried again
		}
	}
}
