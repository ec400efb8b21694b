package output

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const leastBytes = 64 << 10

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 123e6, time.UTC)
	quiet = slog.New(slog.DiscardHandler)
)

// texts joins the lines that were made of a text again.
func texts(t interface{ Fatal(...any) }, lines []byte) []byte {
	var out []byte
	for line := range bytes.Lines(lines) {
		l, err := contracts.ParseOutputLine(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			t.Fatal(err)
		}
		if l.Tag == contracts.OutputNote {
			continue
		}
		if l.Tag == contracts.OutputRest && len(out) > 0 {
			out = out[:len(out)-1]
		}
		out = append(append(out, l.Text...), '\n')
	}
	return out
}

func TestLinesAreStamped(t *testing.T) {
	s := stamper{most: 4}
	var got []byte
	for _, text := range []string{"one\ntw", "o\n\nlonger ", "line\nend"} {
		var left []byte
		if got, left = s.stamp(got, []byte(text), noon, 1<<20); len(left) > 0 {
			t.Errorf("%q is left of %q", left, text)
		}
	}
	const at = "2026-01-02T12:00:00.123Z"
	want := at + " one\n" + at + " two\n" + at + " \n" + at + " long\n" + at + "+er l\n" + at + "+ine\n" + at + " end"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// Whatever is printed, however it is cut, can be had again.
func TestStampingLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := stamper{most: rapid.IntRange(1, 40).Draw(t, "most")}
		room := rapid.IntRange(1, 200).Draw(t, "room")
		var text, stored []byte
		for _, part := range rapid.SliceOf(rapid.SliceOf(rapid.SampledFrom([]byte("ab\n\x00\x1b\xff")))).Draw(t, "parts") {
			text = append(text, part...)
			for len(part) > 0 {
				var lines []byte
				lines, part = s.stamp(nil, part, noon, room)
				if len(lines) > room+contracts.OutputPrefix+s.most+1 {
					t.Fatalf("%d bytes, where there is room for %d", len(lines), room)
				}
				stored = append(stored, lines...)
			}
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		if got := texts(t, stored); !bytes.Equal(got, text) {
			t.Fatalf("%q was stored, and reads %q", text, got)
		}
	})
}

func TestSurplus(t *testing.T) {
	const full = leastBytes / 8
	seg := func(incarnation uint64, n int64) segment { return segment{incarnation, n * full, full} }
	var flood []segment
	for n := range int64(6) {
		flood = append(flood, seg(9, n))
	}
	for _, c := range []struct {
		name       string
		all        []segment
		first      uint64
		keep       int
		want       []segment
		newest     uint64
		whyNotMore string
	}{
		{name: "room for all", all: []segment{seg(8, 0), seg(9, 0)}, newest: 9, keep: 9},
		{name: "the oldest goes", all: append([]segment{seg(8, 0), seg(8, 1)}, flood...), newest: 9, keep: 9, want: []segment{seg(8, 0), seg(9, 0)}},
		{name: "an incarnation too many", all: []segment{seg(7, 0), seg(8, 0)}, newest: 9, keep: 2, want: []segment{seg(7, 0)}},
		{name: "the first failure stays", all: []segment{seg(7, 0), seg(8, 0)}, newest: 9, keep: 1, first: 7, want: []segment{seg(8, 0)}},
		{name: "its end stays in a flood", all: append([]segment{seg(6, 0), seg(6, 1), seg(8, 0)}, flood...), first: 6, newest: 9, keep: 9, want: []segment{seg(6, 0), seg(9, 0), seg(9, 1)}},
	} {
		got := Limits{leastBytes, c.keep}.surplus(c.all, c.newest, c.first)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// However much there is, what stays and one more file fit, and no evidence goes
// while something else could.
func TestSurplusKeepsTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{rapid.Int64Range(leastBytes, 1<<20).Draw(t, "bytes"), rapid.IntRange(1, 5).Draw(t, "incarnations")}
		var all []segment
		n := uint64(rapid.IntRange(1, 8).Draw(t, "newest"))
		for i := uint64(1); i <= n; i++ {
			offset := int64(0)
			for range rapid.IntRange(0, 12).Draw(t, "segments") {
				size := rapid.Int64Range(0, l.segment()+100).Draw(t, "size")
				all = append(all, segment{i, offset, size})
				offset += size + 1
			}
		}
		gone := l.surplus(all, n, uint64(rapid.IntRange(0, int(n)).Draw(t, "first")))
		stay := slices.DeleteFunc(slices.Clone(all), func(s segment) bool { return slices.Contains(gone, s) })
		total := l.segment() + blockSize
		for _, s := range stay {
			total += s.disk()
		}
		if total > l.Bytes {
			t.Fatalf("%d bytes, at most %d allowed", total, l.Bytes)
		}
		if k := kept(stay); len(k) > l.Incarnations+1 {
			t.Fatalf("%d incarnations are kept, of %d", len(k), l.Incarnations)
		}
	})
}

func TestSeries(t *testing.T) {
	var s series
	for i, step := range []struct {
		failed bool
		lived  time.Duration
		want   series
	}{
		{false, time.Hour, series{0, false}},
		{true, time.Hour, series{2, true}}, // the first failure
		{true, time.Second, series{2, true}},
		{true, time.Minute, series{2, true}},
		{false, time.Second, series{2, false}}, // stopped by order
		{true, time.Second, series{6, true}},
		{true, time.Hour, series{7, true}}, // it had been well in between
	} {
		if s = s.after(uint64(i+1), step.failed, step.lived); s != step.want {
			t.Fatalf("step %d: %+v, want %+v", i+1, s, step.want)
		}
	}
}

// bench is an agent's output in a test.
type bench struct {
	*Recorder
	place Place
	end   io.WriteCloser
}

func record(t *testing.T, dir string, incarnation uint64, l Limits) *bench {
	t.Helper()
	p := Place{FIFO: filepath.Join(dir, "fifo"), Dir: filepath.Join(dir, "output")}
	r, err := Record(p, incarnation, l, quiet)
	if err != nil {
		t.Fatal(err)
	}
	end, err := r.End()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	return &bench{r, p, end}
}

// all reads what is kept of an incarnation's output, and how much is not.
func (b *bench) all(t *testing.T, incarnation uint64) (text string, dropped int64) {
	t.Helper()
	for from := (From{}); ; {
		part, err := Read(b.place.Dir, incarnation, from, contracts.MaxLogsBytes)
		if err != nil {
			t.Fatal(err)
		}
		dropped += part.Dropped
		if len(part.Data) == 0 {
			return text, dropped
		}
		text += string(part.Data)
		from.At = &part.Next
	}
}

var plenty = Limits{1 << 20, 3}

func TestRecorderStoresAllUntilItsEnd(t *testing.T) {
	b := record(t, t.TempDir(), 1, plenty)
	for i := range 5000 {
		fmt.Fprintf(b.end, "line %d\n", i)
	}
	fmt.Fprint(b.end, "no newline")
	b.Close(false)
	text, dropped := b.all(t, 1)
	lines := strings.Split(strings.TrimSuffix(string(texts(t, []byte(text))), "\n"), "\n")
	if dropped != 0 || len(lines) != 5001 || lines[4999] != "line 4999" || lines[5000] != "no newline" {
		t.Errorf("%d lines, the last %q; %d dropped", len(lines), lines[len(lines)-1], dropped)
	}
	if tail, err := Tail(b.place.Dir, 1, 2, 4096); err != nil || tail != "line 4999\nno newline" {
		t.Errorf("tail %q, %v", tail, err)
	}
}

func TestFloodStaysWithinItsLimit(t *testing.T) {
	limits := Limits{leastBytes, 3}
	b := record(t, t.TempDir(), 1, limits)
	fmt.Fprintln(b.end, "the evidence")
	b.Close(false)
	b = record(t, filepath.Dir(b.place.Dir), 2, limits)
	text := bytes.Repeat([]byte("the model says the same line again and again\n"), 1000)
	for range 200 {
		if _, err := b.end.Write(text); err != nil {
			t.Fatal(err)
		}
		all, err := segments(b.place.Dir)
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, s := range all {
			total += s.disk()
		}
		if total > limits.Bytes {
			t.Fatalf("%d bytes of disk, at most %d allowed", total, limits.Bytes)
		}
	}
	fmt.Fprintln(b.end, "the end")
	b.Close(false)
	got, dropped := b.all(t, 2)
	if !strings.HasSuffix(got, " the end\n") || dropped < 200*int64(len(text))-limits.Bytes {
		t.Errorf("%d bytes dropped, and kept …%q", dropped, got[max(0, len(got)-80):])
	}
	if !strings.Contains(got, "! ") || !strings.Contains(got, " bytes of incarnation 2 come before this\n") {
		t.Error("the files do not say that something came before")
	}
	if before, _ := b.all(t, 1); !strings.HasSuffix(before, " the evidence\n") {
		t.Errorf("of the incarnation before there is %q", before)
	}
}

// Who asks for more while a recorder is closed is answered, and disturbs nothing.
func TestGrownWhileClosing(t *testing.T) {
	for range 50 {
		b := record(t, t.TempDir(), 1, plenty)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 100 {
				<-b.Grown()
			}
		}()
		fmt.Fprintln(b.end, "last words")
		b.Close(false)
		<-done
		b.end.Close()
	}
}

// A successor continues where a predecessor was killed, within a line.
func TestSuccessorContinues(t *testing.T) {
	b := record(t, t.TempDir(), 7, plenty)
	grown := b.Grown()
	fmt.Fprint(b.end, "first\nsec")
	<-grown
	for {
		if text, _ := b.all(t, 7); strings.HasSuffix(text, " sec") {
			break
		}
	}
	b.Close(true) // as a kill would leave it
	fmt.Fprint(b.end, "ond\nthird\n")
	next := record(t, filepath.Dir(b.place.Dir), 7, plenty)
	next.Close(false)
	text, _ := next.all(t, 7)
	if got := string(texts(t, []byte(text))); got != "first\nsecond\nthird\n" {
		t.Errorf("stored %q", got)
	}
}

func TestReadFrom(t *testing.T) {
	dir := t.TempDir()
	var lines []byte
	write := func(offset int64, from, to int) int64 {
		var b []byte
		for i := from; i < to; i++ {
			b = fmt.Appendf(contracts.AppendOutputPrefix(b, noon.Add(time.Duration(i)*time.Second), contracts.OutputText), "%d\n", i)
		}
		lines = append(lines, b...)
		s := segment{3, offset, 0}
		if err := os.WriteFile(filepath.Join(dir, s.name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return offset + int64(len(b))
	}
	begin := int64(1000)
	end := write(write(write(begin, 0, 10), 10, 20), 20, 30)
	since := func(i int) From { at := noon.Add(time.Duration(i) * time.Second); return From{Since: &at} }
	at := func(n int64) From { return From{At: &n} }
	for _, c := range []struct {
		name    string
		from    From
		first   string
		dropped int64
	}{
		{"all", From{}, "0", begin},
		{"since", since(15), "15", 0},
		{"since the beginning of a file", since(20), "20", 0},
		{"since long", since(-9), "0", 0},
		{"since later", since(31), "", 0},
		{"one line", From{Lines: 1}, "29", 0},
		{"lines over files", From{Lines: 12}, "18", 0},
		{"more lines than there are", From{Lines: 99}, "0", 0},
		{"the later of the two", From{Since: since(15).Since, Lines: 3}, "27", 0},
		{"what is dropped", at(400), "0", begin - 400},
		{"the end", at(end), "", 0},
		{"beyond the end", at(end + 5), "", 0},
	} {
		part, err := Read(dir, 3, c.from, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		first := ""
		if len(part.Data) > 0 {
			line, err := contracts.ParseOutputLine(bytes.SplitN(part.Data, []byte{'\n'}, 2)[0])
			if err != nil {
				t.Fatal(err)
			}
			first = string(line.Text)
		}
		if first != c.first || part.Dropped != c.dropped || part.End != end || part.Next != part.At+int64(len(part.Data)) {
			t.Errorf("%s: begins with %q, %d dropped, from %d to %d of %d; want %q and %d", c.name, first, part.Dropped, part.At, part.Next, part.End, c.first, c.dropped)
		}
	}
	if part, err := Read(dir, 4, From{}, 100); err != nil || len(part.Data) > 0 {
		t.Errorf("of an incarnation that printed nothing: %+v, %v", part, err)
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("2026-01-02T12:00:00.123Z a\n2026-01-02T12:00:00.123Z b\n"), true, 2, 10)
	f.Add([]byte("\xff\x00ä\x1b"), false, 1, 4)
	f.Add([]byte("ääääää"), true, 1, 8)
	f.Fuzz(func(t *testing.T, b []byte, cut bool, lines, most int) {
		lines, most = 1+int(uint(lines)%50), 4+int(uint(most)%5000)
		got := lastLines(b, cut, lines, most)
		if len(got) > most || strings.Count(got, "\n") >= lines || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
			t.Fatalf("lastLines(%q, %v, %d, %d) = %q", b, cut, lines, most, got)
		}
	})
}

func FuzzParseSegment(f *testing.F) {
	f.Add("7-000000000000123.log")
	f.Add("0-1.log")
	f.Fuzz(func(t *testing.T, name string) {
		if s, ok := parseSegment(name); ok && (s.name() != name || s.incarnation == 0) {
			t.Fatalf("%q is read as %+v", name, s)
		}
	})
}

// BenchmarkRecord is how fast what an agent prints is stored.
func BenchmarkRecord(b *testing.B) {
	dir := b.TempDir()
	r, err := Record(Place{FIFO: dir + "/fifo", Dir: dir + "/output"}, 1, Limits{10 << 20, 3}, quiet)
	if err != nil {
		b.Fatal(err)
	}
	end, err := r.End()
	if err != nil {
		b.Fatal(err)
	}
	text := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 640)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := end.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	r.Close(false)
	end.Close()
}
