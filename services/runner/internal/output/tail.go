package output

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Tail returns the last lines of what an incarnation printed, at most maxLines of
// them and maxBytes in all, as valid UTF-8 without control characters. A text that
// is cut at its front begins with "…".
func Tail(dir string, incarnation uint64, maxLines, maxBytes int) (string, error) {
	all, err := segments(dir)
	if err != nil {
		return "", err
	}
	r := reader{dir, of(all, incarnation)}
	if len(r.of) == 0 {
		return "", nil
	}
	begin, end := r.of[0].offset, r.of[len(r.of)-1].end()
	at := max(begin, end-int64(maxBytes+maxLines*(contracts.OutputPrefix+1)))
	cut := at > begin
	var data []byte
	for at < end {
		part, err := r.read(From{At: &at}, int(end-at))
		if err != nil || len(part.Data) == 0 {
			return "", err
		}
		data, at = append(data, part.Data...), part.Next
	}
	return lastLines(data, cut, maxLines, maxBytes), nil
}

// lastLines returns the last lines of what is stored; cut says that it begins
// within a line.
func lastLines(stored []byte, cut bool, maxLines, maxBytes int) string {
	const mark = "…"
	var lines []string
	for text := range bytes.SplitSeq(bytes.TrimSuffix(stored, []byte{'\n'}), []byte{'\n'}) {
		line, err := contracts.ParseOutputLine(text)
		switch {
		case err != nil && cut && len(lines) == 0:
			lines = append(lines, mark+clean(text))
		case err != nil || line.Tag == contracts.OutputNote:
		case line.Tag == contracts.OutputRest && len(lines) > 0:
			lines[len(lines)-1] += clean(line.Text)
		default:
			lines = append(lines, clean(line.Text))
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) > 1 && strings.HasPrefix(lines[0], mark) && cut {
		lines = lines[1:]
	}
	return lastBytes(lines[max(0, len(lines)-maxLines):], maxBytes)
}

// lastBytes joins the last lines that fit, or the end of the last one.
func lastBytes(lines []string, most int) string {
	size := -1
	for i := len(lines) - 1; i >= 0; i-- {
		if size += 1 + len(lines[i]); size <= most {
			continue
		}
		if i+1 < len(lines) {
			return strings.Join(lines[i+1:], "\n")
		}
		const mark = "…"
		text := lines[i]
		over := max(0, min(len(text), len(text)+len(mark)-most))
		for over < len(text) && !utf8.RuneStart(text[over]) {
			over++
		}
		return mark + text[over:]
	}
	return strings.Join(lines, "\n")
}

// clean drops terminal control and replaces what is not UTF-8.
func clean(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r >= ' ' && r != 0x7f {
			return r
		}
		return -1
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
