package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
)

// table prints rows under a header, in aligned columns.
func (a *app) table(header []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// width is that of the terminal that the output goes to, 80 if it is not known. It is
// 0 if the output is for another program, which gets all of it.
func (a *app) width() int {
	f, ok := a.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// leastRoom is what a text has at least, however wide the table becomes.
const leastRoom = 20

// roomFor is how wide a column may be in a table of a width; 0 if that is 0, for any.
func roomFor(column int, header []string, rows [][]string, width int) int {
	if width == 0 {
		return 0
	}
	for i := range header {
		if i == column {
			continue
		}
		widest := utf8.RuneCountInString(header[i])
		for _, r := range rows {
			widest = max(widest, utf8.RuneCountInString(r[i]))
		}
		width -= widest + len("  ")
	}
	return max(width, leastRoom)
}

// clipColumn shortens the texts of a column so that a table has a width, as far as
// that can be.
func clipColumn(column int, header []string, rows [][]string, width int) [][]string {
	if room := roomFor(column, header, rows, width); room > 0 {
		for _, r := range rows {
			r[column] = clip(r[column], room)
		}
	}
	return rows
}

// wrapLast breaks the texts of the last column, so that a table has a width, as far as
// that can be.
func wrapLast(header []string, rows [][]string, width int) [][]string {
	last := len(header) - 1
	room := roomFor(last, header, rows, width)
	var out [][]string
	for _, r := range rows {
		for i, line := range describe.Wrap(r[last], room) {
			row := make([]string, last, last+1)
			if i == 0 {
				copy(row, r)
			}
			out = append(out, append(row, line))
		}
	}
	return out
}

// clip shortens a text for a column; --json and smith why have all of it.
func clip(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
