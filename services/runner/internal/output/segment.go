package output

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// segment is one file of an incarnation's output.
type segment struct {
	incarnation uint64
	// offset is how much of the incarnation's output was stored before.
	offset, size int64
}

// end is the offset of what is stored next.
func (s segment) end() int64 { return s.offset + s.size }

func (s segment) name() string { return fmt.Sprintf("%d-%015d.log", s.incarnation, s.offset) }

// parseSegment reads the name of a segment.
func parseSegment(name string) (segment, bool) {
	stem, ok := strings.CutSuffix(name, ".log")
	number, offset, two := strings.Cut(stem, "-")
	s := segment{}
	var err, bad error
	s.incarnation, err = strconv.ParseUint(number, 10, 64)
	s.offset, bad = strconv.ParseInt(offset, 10, 64)
	ok = ok && two && err == nil && bad == nil && s.incarnation > 0 && s.incarnation < contracts.MaxIncarnation && s.offset >= 0
	return s, ok && s.name() == name
}

// segments lists the segments in a directory by incarnation and offset; one that
// is not there has none.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list output: %w", err)
	}
	var all []segment
	for _, e := range entries {
		s, ok := parseSegment(e.Name())
		if !ok {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // it was just deleted
		}
		s.size = info.Size()
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.incarnation, b.incarnation), cmp.Compare(a.offset, b.offset))
	})
	return all, nil
}

// of returns the segments of an incarnation; all are ordered.
func of(all []segment, incarnation uint64) []segment {
	return slices.DeleteFunc(slices.Clone(all), func(s segment) bool { return s.incarnation != incarnation })
}

// kept are the incarnations that segments are of, in order.
func kept(all []segment) []uint64 {
	var out []uint64
	for _, s := range all {
		if len(out) == 0 || out[len(out)-1] != s.incarnation {
			out = append(out, s.incarnation)
		}
	}
	return out
}

// Limits bound the stored output of an agent.
type Limits struct {
	// Bytes is how much disk all of it may take; at least LeastOutput of package config.
	Bytes int64
	// Incarnations is how many have their output kept, besides the first failure
	// of a series; at least 1.
	Incarnations int
}

// segment is how large a file may become. The oldest file goes when there is no
// room for a new one, so of the output an eighth goes at a time.
func (l Limits) segment() int64 { return l.Bytes / 8 }

// line is how long a line may be, so that it does not make a small file much
// larger.
func (l Limits) line() int { return int(min(contracts.MaxOutputLine, l.segment()/8)) }

// blockSize is the unit in which files take disk.
const blockSize = 4 << 10

func (s segment) disk() int64 { return (s.size + blockSize - 1) / blockSize * blockSize }

// surplus returns the segments to delete so that one more of the newest
// incarnation fits within the limits; first is the first failure of a series, or
// 0. All are ordered.
func (l Limits) surplus(all []segment, newest, first uint64) (gone []segment) {
	incarnations := kept(all)
	if n := len(incarnations); n == 0 || incarnations[n-1] != newest {
		incarnations = append(incarnations, newest)
	}
	oldest := incarnations[max(0, len(incarnations)-max(1, l.Incarnations))]
	total := l.segment() + blockSize // for the one to come
	var stay []segment
	for _, s := range all {
		if s.incarnation < oldest && s.incarnation != first {
			gone = append(gone, s)
			continue
		}
		stay = append(stay, s)
		total += s.disk()
	}
	drop := func(s segment, spare bool) bool {
		if spare || total <= l.Bytes {
			return false
		}
		total -= s.disk()
		gone = append(gone, s)
		return true
	}
	evidence := map[segment]bool{}
	for i, s := range stay {
		last := i+1 == len(stay) || stay[i+1].incarnation != s.incarnation
		before := len(incarnations) > 1 && s.incarnation == incarnations[len(incarnations)-2]
		evidence[s] = last && s.incarnation != newest && (before || s.incarnation == first)
	}
	stay = slices.DeleteFunc(stay, func(s segment) bool { return drop(s, evidence[s]) })
	for _, s := range stay {
		drop(s, false)
	}
	return gone
}
