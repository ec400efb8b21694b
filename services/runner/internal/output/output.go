// Package output keeps what an agent prints.
//
// An agent writes straight to a file, so its output needs nobody to read it
// and survives its runner. The file holds one incarnation's output; the one
// before is kept beside it with the suffix ".1". What takes more room than
// allowed loses its oldest part (see Trim), never its newest.
package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// Create opens a fresh file at path for appending and keeps the one before as
// path.1.
func Create(path string) (*os.File, error) {
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("rotate output: %w", err)
	}
	// Appending lets the file be shortened under its writer.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create output file: %w", err)
	}
	return f, nil
}

// Trim frees the oldest output once the file takes more than twice keep bytes
// of disk; at least the last keep bytes stay. The freed part reads as zero
// bytes; where the file system cannot do that, the file is emptied instead.
func Trim(path string, keep int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("trim output: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("trim output: %w", err)
	}
	if allocated(info) <= 2*keep {
		return nil
	}
	if err := freeHead(f, info.Size()-keep); err != nil {
		return fmt.Errorf("trim output %s: %w", path, err)
	}
	return nil
}

// Tail reads the last lines of the file, at most maxLines of them and maxBytes
// in all, as valid UTF-8 without control characters. A line cut at its front
// begins with "…".
func Tail(path string, maxLines, maxBytes int) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read output: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", fmt.Errorf("read output: %w", err)
	}
	start := max(0, size-int64(maxBytes))
	buf := make([]byte, size-start)
	n, err := f.ReadAt(buf, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read output: %w", err)
	}
	return lastLines(buf[:n], start > 0, maxLines, maxBytes), nil
}

// lastLines gives the last lines of b; cut says that b is not the whole file.
func lastLines(b []byte, cut bool, maxLines, maxBytes int) string {
	if i := bytes.LastIndexByte(b, 0); i >= 0 { // the freed head
		b, cut = b[i+1:], true
	}
	text := strings.TrimRight(clean(b), "\n")
	lines := strings.Split(text, "\n")
	if len(lines) > maxLines {
		lines, cut = lines[len(lines)-maxLines:], false
	}
	if cut && len(lines) > 1 {
		lines, cut = lines[1:], false
	}
	text = strings.Join(lines, "\n")
	const mark = "…"
	if over := len(text) - maxBytes; over > 0 || cut {
		over = max(0, len(text)+len(mark)-maxBytes)
		for over < len(text) && !utf8.RuneStart(text[over]) {
			over++
		}
		text = mark + text[over:]
	}
	return text
}

// clean drops terminal control and replaces what is not UTF-8.
func clean(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f {
			return r
		}
		return -1
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
