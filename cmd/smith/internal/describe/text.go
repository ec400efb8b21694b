package describe

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// printer writes lines that fit a terminal. The first error is kept, and nothing
// is written after it.
type printer struct {
	w   io.Writer
	now time.Time
	err error
}

// clock is a time in local time, with the date unless it is today's.
func (p *printer) clock(t time.Time) string { return Clock(t, p.now) }

// Clock is a time in local time, with the date unless that is now's.
func Clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05.000")
	}
	return t.Format("2006-01-02 15:04:05.000")
}

// line writes a text in as many lines as it needs, each indented.
func (p *printer) line(indent, text string) {
	for _, l := range Wrap(Plain(text), columns-len(indent)) {
		p.print(indent + l)
	}
}

// print writes a line as it is, but for what is not safe to print.
func (p *printer) print(line string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, Plain(line))
	}
}

// Plain is a text that is safe to print on a terminal: whatever is not printable
// is escaped as in Go, line breaks and tabs included.
func Plain(s string) string {
	printable := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if strings.IndexFunc(s, func(r rune) bool { return !printable(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if printable(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Wrap cuts a text into lines of at most so many characters, between words where
// it can.
func Wrap(text string, most int) []string {
	var lines []string
	line := []rune{}
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > most {
			lines, line = append(lines, string(line)), line[:0]
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(line)+len(w) > most {
			cut := most - len(line)
			lines = append(lines, string(line)+string(w[:cut]))
			line, w = line[:0], w[cut:]
		}
		line = append(line, w...)
	}
	if len(line) > 0 {
		lines = append(lines, string(line))
	}
	return lines
}
