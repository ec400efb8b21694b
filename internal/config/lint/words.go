package lint

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// dur words a duration as people write it, to three digits or so.
func dur(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// up words a duration that must not be too short.
func up(d time.Duration) string {
	unit := 100 * time.Millisecond
	switch {
	case d >= time.Minute:
		unit = time.Second
	case d < time.Second:
		unit = time.Millisecond
	}
	return dur((d + unit - 1).Truncate(unit))
}

// down words a duration that must not be too long.
func down(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return dur(d.Truncate(time.Second))
	case d >= time.Second:
		return dur(d.Truncate(100 * time.Millisecond))
	}
	return dur(d.Truncate(time.Millisecond))
}

// num words a count, however large.
func num(n float64) string {
	switch {
	case n >= 1e15:
		return fmt.Sprintf("10^%.0f", math.Floor(math.Log10(n)))
	case n >= 1e6:
		return fmt.Sprintf("%.1f million", n/1e6)
	}
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// many words a count of things.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return num(float64(n)) + " " + thing + "s"
}

// list names the first few of many.
func list(names []string) string {
	const most = 4
	quoted := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		quoted = append(quoted, strconv.Quote(n))
	}
	s := strings.Join(quoted, ", ")
	if more := len(names) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
