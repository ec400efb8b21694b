// Package histogram draws durations as bars of text, with marks between them
// where limits lie.
package histogram

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Mark is a limit to be shown at its place.
type Mark struct {
	At   time.Duration
	Text string
	// Colour is an ANSI colour number such as 31 for red, used on request.
	Colour int
}

// Style says how to draw; the zero value is 12 bars of at most 40 characters,
// without colour.
type Style struct {
	Bars, Width int
	Colour      bool
}

// bar is how many values lie from one bound up to, but not including, another.
type bar struct {
	from, to time.Duration
	count    int
}

// line is what is drawn at a place.
type line struct {
	at   time.Duration
	left string
	rest string
	code int
}

// Draw writes the bars and marks in the order of their places.
func Draw(w io.Writer, values []time.Duration, marks []Mark, s Style) error {
	if s.Bars <= 0 {
		s.Bars = 12
	}
	if s.Width <= 0 {
		s.Width = 40
	}
	var lines []line
	most := 0
	all := split(values, s.Bars)
	for _, b := range all {
		most = max(most, b.count)
	}
	for _, b := range all {
		left := fmt.Sprintf("%s – %s", short(b.from), short(b.to))
		if b.count == 0 {
			lines = append(lines, line{at: b.from, left: left})
			continue
		}
		length := max(int(math.Round(float64(b.count)*float64(s.Width)/float64(most))), 1)
		lines = append(lines, line{at: b.from, left: left, rest: fmt.Sprintf("%s %d", strings.Repeat("█", length), b.count)})
	}
	for _, m := range marks {
		lines = append(lines, line{m.At, short(m.At), "◀ " + m.Text, m.Colour})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return int(min(max(a.at-b.at, -1), 1)) })
	return write(w, lines, s.Colour)
}

func write(w io.Writer, lines []line, colour bool) error {
	width := 0
	for _, l := range lines {
		width = max(width, utf8.RuneCountInString(l.left))
	}
	for _, l := range lines {
		text := strings.TrimRight(strings.Repeat(" ", width-utf8.RuneCountInString(l.left))+l.left+"  "+l.rest, " ")
		if colour && l.code > 0 {
			text = fmt.Sprintf("\x1b[%dm%s\x1b[0m", l.code, text)
		}
		if _, err := fmt.Fprintln(w, "  "+text); err != nil {
			return err
		}
	}
	return nil
}

// wide is the ratio of largest to smallest value from which bars grow by
// factors instead of steps.
const wide = 4

// split makes bars of equal width, or of equal factors where the values lie far
// apart. Empty ones at the ends do not occur.
func split(values []time.Duration, n int) []bar {
	if len(values) == 0 {
		return nil
	}
	low, high := max(slices.Min(values), 1), max(slices.Max(values), 1)+1
	bound := func(i int) time.Duration {
		share := float64(i) / float64(n)
		if float64(high)/float64(low) > wide {
			return time.Duration(float64(low) * math.Pow(float64(high)/float64(low), share))
		}
		return low + time.Duration(float64(high-low)*share)
	}
	if int64(high-low) < int64(n) {
		n = 1
	}
	bars := make([]bar, n)
	for i := range bars {
		bars[i].from, bars[i].to = bound(i), bound(i+1)
	}
	bars[n-1].to = high
	for _, v := range values {
		i, _ := slices.BinarySearchFunc(bars, max(v, 1), func(b bar, v time.Duration) int {
			if b.to <= v {
				return -1
			}
			return 1
		})
		bars[min(i, n-1)].count++
	}
	return bars
}

// short renders a duration in about four digits.
func short(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	unit := time.Duration(math.Pow(10, math.Max(math.Floor(math.Log10(float64(d)))-3, 0)))
	return d.Round(unit).String()
}
