package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Kept returns the incarnations of which output is stored in a directory, in
// order, and the first failure of a series among them, or 0.
func Kept(dir string) (incarnations []uint64, first uint64, err error) {
	all, err := segments(dir)
	if err != nil {
		return nil, 0, err
	}
	incarnations = kept(all)
	if first = loadSeries(dir).First; !slices.Contains(incarnations, first) {
		first = 0
	}
	return incarnations, first, nil
}

// From says where to begin to read.
type From struct {
	// At is the place. Without it that is the first line since Since or the last
	// Lines lines, the later of the two, or the oldest that is kept.
	At    *int64
	Since *time.Time
	Lines int
}

// Part is a part of an incarnation's output.
type Part struct {
	// At is where Data begins, Next where the rest does, and End where output
	// ends so far. Dropped is how much of what was asked for, before At, is not
	// kept.
	At, Next, End, Dropped int64
	Data                   []byte
}

// Read reads at most most bytes of an incarnation's output; none when there is no
// more yet.
func Read(dir string, incarnation uint64, from From, most int) (Part, error) {
	const tries = 5 // files are deleted meanwhile, the oldest first
	for try := 1; ; try++ {
		all, err := segments(dir)
		if err != nil {
			return Part{}, err
		}
		r := reader{dir, of(all, incarnation)}
		part, err := r.read(from, most)
		if errors.Is(err, fs.ErrNotExist) && try < tries {
			continue
		}
		if err != nil {
			return Part{}, fmt.Errorf("read output: %w", err)
		}
		return part, nil
	}
}

// reader reads the segments of one incarnation.
type reader struct {
	dir string
	of  []segment
}

func (r reader) read(from From, most int) (p Part, err error) {
	if len(r.of) == 0 {
		return Part{}, nil
	}
	begin, end := r.of[0].offset, r.of[len(r.of)-1].end()
	switch {
	case from.At != nil:
		p.At = min(max(*from.At, begin), end)
		p.Dropped = max(0, begin-*from.At)
	case from.Since == nil && from.Lines == 0:
		p.At, p.Dropped = begin, begin
	default:
		if p.At, err = r.locate(from, begin, end); err != nil {
			return p, err
		}
	}
	p.Next = p.At
	i := len(r.of) - 1
	for i > 0 && r.of[i].offset > p.At {
		i--
	}
	buf := make([]byte, most)
	n, err := r.readAt(r.of[i], buf, p.At-r.of[i].offset)
	p.Data, p.Next = buf[:n], p.At+int64(n)
	p.End = max(end, p.Next)
	return p, err
}

// readAt reads from a segment until its end; less than asked is no error.
func (r reader) readAt(s segment, b []byte, at int64) (int, error) {
	f, err := os.Open(filepath.Join(r.dir, s.name()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// locate finds the place of a time or of the last lines.
func (r reader) locate(from From, begin, end int64) (at int64, err error) {
	at = begin
	if from.Since != nil {
		if at, err = r.since(*from.Since); err != nil {
			return 0, err
		}
	}
	if from.Lines > 0 {
		last, err := r.last(from.Lines, end)
		if err != nil {
			return 0, err
		}
		at = max(at, last)
	}
	return at, nil
}

// since is the place of the first line of a time or later.
func (r reader) since(t time.Time) (int64, error) {
	for i := len(r.of) - 1; i >= 0; i-- {
		s := r.of[i]
		head := make([]byte, contracts.OutputPrefix)
		n, err := r.readAt(s, head, 0)
		if err != nil {
			return 0, err
		}
		if line, err := contracts.ParseOutputLine(head[:n]); i > 0 && (err != nil || !line.Time.Before(t)) {
			continue
		}
		body := make([]byte, s.size)
		if n, err = r.readAt(s, body, 0); err != nil {
			return 0, err
		}
		return s.offset + int64(contracts.OutputSince(body[:n], t)), nil
	}
	return 0, nil
}

// last is the place of the last n lines, of which the very last may have no end.
func (r reader) last(n int, end int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for _, s := range slices.Backward(r.of) {
		for size := s.size; size > 0; {
			from := max(0, size-int64(len(buf)))
			got, err := r.readAt(s, buf[:size-from], from)
			if err != nil {
				return 0, err
			}
			for i := got - 1; i >= 0; i-- {
				if at := s.offset + from + int64(i) + 1; buf[i] == '\n' && at < end {
					if n--; n == 0 {
						return at, nil
					}
				}
			}
			size = from
		}
	}
	return r.of[0].offset, nil
}
