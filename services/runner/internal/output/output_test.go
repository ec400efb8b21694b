package output

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTail(t *testing.T) {
	long := strings.Repeat("x", 50)
	tests := []struct {
		name, in, want  string
		lines, maxBytes int
	}{
		{"empty", "", "", 3, 100},
		{"fewer lines", "a\nb\n", "a\nb", 3, 100},
		{"more lines", "a\nb\nc\nd\n", "b\nc\nd", 3, 100},
		{"no newline at the end", "a\nb", "a\nb", 3, 100},
		{"bytes bound, whole lines", "aaaa\nbbbb\ncccc\n", "cccc", 3, 8},
		{"one line longer than the bound", long, "…" + strings.Repeat("x", 17), 3, 20},
		{"after a freed head", "\x00\x00\x00rest of line\nnext\n", "next", 3, 100},
		{"control and colour", "\x1b[31mred\x1b[0m\r\n", "[31mred[0m", 3, 100},
		{"not UTF-8", "a\xff\xfeb", "a\uFFFDb", 3, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Tail(path, tt.lines, tt.maxBytes)
			if err != nil || got != tt.want {
				t.Errorf("Tail = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if got, err := Tail(filepath.Join(t.TempDir(), "none"), 3, 100); got != "" || err != nil {
		t.Errorf("Tail of no file = %q, %v", got, err)
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a\nb\n"), true, 2, 10)
	f.Add([]byte("\xff\x00ä\x1b"), false, 1, 4)
	f.Add([]byte("ääääää"), true, 1, 8)
	f.Fuzz(func(t *testing.T, b []byte, cut bool, lines, maxBytes int) {
		lines, maxBytes = 1+abs(lines)%50, 4+abs(maxBytes)%5000
		got := lastLines(b, cut, lines, maxBytes)
		if len(got) > maxBytes || !utf8.ValidString(got) || strings.Count(got, "\n") >= lines || strings.ContainsRune(got, 0) {
			t.Fatalf("lastLines(%q, %v, %d, %d) = %q", b, cut, lines, maxBytes, got)
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func TestTrimKeepsTheNewestWhileTheWriterGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const keep = 64 << 10
	line := strings.Repeat("-", 90)
	for i := range 5000 {
		fmt.Fprintf(w, "%s %d\n", line, i)
		if i%500 == 0 {
			if err := Trim(path, keep); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := Trim(path, keep); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := allocated(info); got > 2*keep {
		t.Errorf("the file takes %d bytes of disk, at most %d allowed", got, 2*keep)
	}
	tail, err := Tail(path, 2, 4096)
	if want := line + " 4998\n" + line + " 4999"; err != nil || tail != want {
		t.Errorf("Tail = %q, %v; want %q", tail, err, want)
	}
}

func TestCreateKeepsThePreviousIncarnationsOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for _, s := range []string{"first", "second"} {
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, s)
		w.Close()
	}
	now, _ := os.ReadFile(path)
	before, _ := os.ReadFile(path + ".1")
	if string(now) != "second" || string(before) != "first" {
		t.Errorf("now %q, before %q", now, before)
	}
}
