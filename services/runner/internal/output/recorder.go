package output

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// readSize is how much is read at once.
const readSize = 64 << 10

// buffers are shared by all recorders: most agents print seldom.
var buffers = sync.Pool{New: func() any { return &buffer{text: make([]byte, readSize)} }}

type buffer struct{ text, lines []byte }

// Place is where the output of an agent is.
type Place struct {
	// FIFO is what the agent writes to, Dir where it is stored.
	FIFO, Dir string
	// Before is a file with what was printed before what is in the FIFO, if it is there.
	// It is removed when that is stored.
	Before string
	// Copy, if it is not nil, is called with what was stored of an incarnation, by
	// one goroutine at a time. It must not block.
	Copy func(incarnation uint64, stored []byte)
}

// Recorder stores what an agent prints. It has a goroutine and two files open.
type Recorder struct {
	place Place
	log   *slog.Logger
	fifo  *os.File
	// closing ends the reading, which closes done.
	closing atomic.Bool
	done    chan struct{}

	mu          sync.Mutex
	limits      Limits
	incarnation uint64
	line        stamper
	// file is the segment that is written to; nil before there is any.
	file *os.File
	now  segment
	// torn says that what is stored does not end with a whole line.
	torn bool
	// printed is how much was read.
	printed int64
	// lost is what could not be stored since it last could.
	lost  int64
	grown chan struct{} // closed when there is more, if anybody waits
}

// Record begins to store what an agent prints, as that of an incarnation. If some
// of it is stored already, by a predecessor, it is continued.
func Record(p Place, incarnation uint64, l Limits, log *slog.Logger) (*Recorder, error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory for output: %w", err)
	}
	fifo, err := openFIFO(p.FIFO)
	if err != nil {
		return nil, err
	}
	r := &Recorder{place: p, log: log, fifo: fifo, done: make(chan struct{})}
	if err := r.Begin(incarnation, l); err != nil {
		fifo.Close()
		return nil, err
	}
	r.storeBefore()
	go r.read()
	return r, nil
}

// storeBefore stores what was printed before what is in the FIFO.
func (r *Recorder) storeBefore() {
	if r.place.Before == "" {
		return
	}
	text, err := os.ReadFile(r.place.Before)
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(r.place.Before)
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("what an agent printed last is not stored", "error", err)
		}
		return
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	r.store(b, text, info.ModTime())
	_ = os.Remove(r.place.Before)
}

// End opens the end of the FIFO for an agent.
func (r *Recorder) End() (*os.File, error) { return openEnd(r.place.FIFO) }

// Begin has what is read from now on stored as an incarnation's.
func (r *Recorder) Begin(incarnation uint64, l Limits) error {
	all, err := segments(r.place.Dir)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLine()
	r.leaveFile()
	r.incarnation, r.limits, r.line = incarnation, l, stamper{most: l.line()}
	r.now = segment{incarnation: incarnation}
	mine := of(all, incarnation)
	if len(mine) == 0 {
		return nil
	}
	r.now = mine[len(mine)-1]
	if err := r.resume(); err != nil {
		r.log.Warn("the last file of an agent's output is left as it is", "error", err)
		r.now = segment{incarnation: incarnation, offset: r.now.end()}
	}
	return nil
}

// resume opens the last segment of a predecessor; r.mu is held.
func (r *Recorder) resume() error {
	f, err := os.OpenFile(r.path(r.now), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("continue output: %w", err)
	}
	last := []byte{'\n'}
	if r.now.size > 0 {
		if _, err := f.ReadAt(last, r.now.size-1); err != nil {
			f.Close()
			return fmt.Errorf("continue output: %w", err)
		}
	}
	r.file, r.torn, r.line.cut = f, last[0] != '\n', last[0] != '\n'
	return nil
}

func (r *Recorder) path(s segment) string { return filepath.Join(r.place.Dir, s.name()) }

// read stores what comes until the recorder is closed.
func (r *Recorder) read() {
	defer close(r.done)
	conn, err := r.fifo.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool { return r.pull(int(fd), 0) || r.closing.Load() })
	}
	if err != nil && !r.closing.Load() {
		r.log.Error("output of an agent is not read; it will wait when it prints more", "error", err)
	}
}

// pull stores what there is to read, at most about most bytes unless that is 0.
// It returns false when there is no more for now.
func (r *Recorder) pull(fd, most int) bool {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for got := 0; most == 0 || got < most; {
		if !r.prepare(fd) {
			return false
		}
		n, err := unix.Read(fd, b.text)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n <= 0:
			return false
		}
		got += n
		r.store(b, b.text[:n], time.Now())
		if most == 0 && r.closing.Load() {
			return true
		}
	}
	return true
}

// prepare makes room for what there is to read before that is taken out of the
// FIFO: if the runner is killed meanwhile, it is there for its successor. It returns
// false if there is nothing to read.
func (r *Recorder) prepare(fd int) bool {
	if empty(fd) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.line.mid {
		_ = r.makeRoom(time.Now()) // it is tried again, and reported, when it is needed
	}
	return true
}

// Close stores what the agent has printed, and ends; keep says that the agent
// lives and what it printed is left to a successor.
func (r *Recorder) Close(keep bool) {
	r.closing.Store(true)
	_ = r.fifo.SetReadDeadline(time.Unix(1, 0))
	<-r.done
	if conn, err := r.fifo.SyscallConn(); err == nil && !keep {
		_ = conn.Control(func(fd uintptr) { r.pull(int(fd), 4<<20) }) // what it left may print on
	}
	_ = r.fifo.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !keep {
		r.endLine()
	}
	r.leaveFile()
	r.wake()
}

// store writes text that came at a time.
func (r *Recorder) store(b *buffer, text []byte, at time.Time) {
	const chunk = 256 << 10
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.wake()
	r.printed += int64(len(text))
	for len(text) > 0 {
		b.lines = b.lines[:0]
		if !r.line.mid {
			if err := r.makeRoom(at); err != nil {
				r.lose(int64(len(text)), err)
				return
			}
			if r.torn {
				b.lines = append(b.lines, '\n')
			}
			if r.lost > 0 {
				b.lines = note(b.lines, at, "%d bytes could not be stored here", r.lost)
			}
		}
		left := text
		b.lines, left = r.line.stamp(b.lines, text, at, int(min(r.limits.segment()-r.now.size, chunk)))
		if err := r.write(b.lines); err != nil {
			r.lose(int64(len(text)), err)
			return
		}
		r.lost, text = 0, left
	}
}

func note(b []byte, at time.Time, format string, args ...any) []byte {
	b = contracts.AppendOutputPrefix(b, at, contracts.OutputNote)
	return append(fmt.Appendf(b, " "+format, args...), '\n')
}

// write appends to the segment all or nothing, as far as that can be; r.mu is
// held.
func (r *Recorder) write(b []byte) error {
	n, err := r.file.Write(b)
	if err != nil && n > 0 && r.file.Truncate(r.now.size) == nil {
		n = 0
	}
	r.now.size += int64(n)
	if n > 0 {
		r.torn = b[n-1] != '\n'
		if r.place.Copy != nil {
			r.place.Copy(r.incarnation, b[:n])
		}
	}
	return err
}

// lose notes that text could not be stored. It is not waited for: the agent would
// wait, too. r.mu is held.
func (r *Recorder) lose(n int64, err error) {
	if r.lost == 0 {
		r.log.Warn("output of an agent cannot be stored", "incarnation", r.incarnation, "error", err)
	}
	r.lost += n
	r.line = stamper{most: r.line.most}
}

// endLine ends a line that the agent did not; r.mu is held.
func (r *Recorder) endLine() {
	if r.file != nil && r.torn {
		_ = r.write([]byte{'\n'})
	}
}

func (r *Recorder) leaveFile() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// makeRoom begins another segment when the present one is full, and deletes what
// that leaves no room for; r.mu is held.
func (r *Recorder) makeRoom(at time.Time) error {
	if r.file != nil && r.now.size < r.limits.segment() {
		return nil
	}
	r.endLine()
	next := segment{incarnation: r.incarnation, offset: r.now.end()}
	all, err := segments(r.place.Dir)
	if err != nil {
		return err
	}
	for _, s := range r.limits.surplus(all, r.incarnation, loadSeries(r.place.Dir).First) {
		if err := os.Remove(r.path(s)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("make room for output: %w", err)
		}
	}
	f, err := os.OpenFile(r.path(next), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if errors.Is(err, os.ErrNotExist) { // the directory was removed
		if err = os.MkdirAll(r.place.Dir, 0o700); err == nil {
			f, err = os.OpenFile(r.path(next), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("file for output: %w", err)
	}
	r.leaveFile()
	r.file, r.now, r.torn = f, next, false
	if next.offset == 0 {
		return nil
	}
	return r.write(note(nil, at, "%d bytes of incarnation %d come before this", next.offset, r.incarnation))
}

// Printed is how much the agent has printed since the recorder began.
func (r *Recorder) Printed() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.printed
}

// Grown returns a channel that is closed when there is more than before, or the
// recorder is closed.
func (r *Recorder) Grown() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing.Load() {
		over := make(chan struct{})
		close(over)
		return over
	}
	if r.grown == nil {
		r.grown = make(chan struct{})
	}
	return r.grown
}

// wake tells those who wait that there is more; r.mu is held.
func (r *Recorder) wake() {
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}
