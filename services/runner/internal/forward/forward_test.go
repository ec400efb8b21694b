package forward

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 1, 2, 15, 4, 5, 123e6, time.UTC)

// stored is text as it is stored: each line with its time and tag.
func stored(tag contracts.OutputTag, lines ...string) []byte {
	var b []byte
	for _, l := range lines {
		b = append(append(contracts.AppendOutputPrefix(b, at, tag), l...), '\n')
	}
	return b
}

type counts struct {
	mu            sync.Mutex
	sent, dropped int
}

func (c *counts) Forwarded(n int)    { c.mu.Lock(); c.sent += n; c.mu.Unlock() }
func (c *counts) NotForwarded(n int) { c.mu.Lock(); c.dropped += n; c.mu.Unlock() }

func decode(t *testing.T, text []byte) (lines []Line) {
	t.Helper()
	for raw := range bytes.Lines(text) {
		var l Line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if len(raw) > maxLine || bytes.IndexFunc(raw[:len(raw)-1], unicode.IsControl) >= 0 {
			t.Errorf("a line of %d bytes, or with control characters: %.100q", len(raw), raw)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := New(&out, "r1", &counts{}, slog.New(slog.DiscardHandler))
	a := f.Agent("a")
	long := "x" + strings.Repeat("ä", 9000) + strings.Repeat("\x80", 9000) + strings.Repeat("\x01", 9000) + strings.Repeat("ä", 3000) + "\u009b\x7f\xff<end>"
	text := bytes.Join([][]byte{
		stored(contracts.OutputText, "one", "", `"two"`), stored(contracts.OutputNote, "a note of the store"), stored(contracts.OutputText, long), stored(contracts.OutputRest, "rest"),
	}, nil)
	for len(text) > 0 { // in parts that end anywhere
		n := min(7, len(text))
		a.Stored(3, text[:n])
		text = text[n:]
	}
	a.Stored(4, []byte("\n")) // the end of a line of which nothing was seen
	a.Stored(4, stored(contracts.OutputText, "next"))
	f.Close(t.Context())
	lines := decode(t, out.Bytes())
	var joined string
	for i, l := range lines {
		if l.Agent != "a" || l.Runner != "r1" || l.Stream != StreamOutput || !l.Time.Equal(at) || (l.Incarnation == 4) != (i == len(lines)-1) {
			t.Errorf("%+v", l)
		}
		if !l.Rest && i > 0 {
			joined += "|"
		}
		joined += l.Text
	}
	want := strings.Map(func(r rune) rune { return r }, `one||"two"|`+long+"rest|next") // with a replacement for each byte that is no text
	if joined != want || !utf8.ValidString(joined) {
		t.Errorf("%d lines, %d bytes: %.80q…, want %d", len(lines), len(joined), joined, len(want))
	}
}

// A reader that does not read holds up no agent, takes bounded memory, and is told
// what it has missed, of each agent.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	c := &counts{}
	f := New(w, "r1", c, slog.New(slog.DiscardHandler))
	const flood, text = 100_000, "some text that is as long as lines of logs are, more or less, and a number:"
	loud, quiet := f.Agent("loud"), f.Agent("quiet")
	for i := range flood {
		loud.Stored(1, stored(contracts.OutputText, fmt.Sprint(text, i)))
	}
	quiet.Stored(1, stored(contracts.OutputText, "heard all the same"))
	f.mu.Lock()
	if f.size > maxShare+maxLine || loud.dropped == 0 || quiet.dropped > 0 {
		t.Errorf("%d bytes wait, %d lines dropped, %d of the other", f.size, loud.dropped, quiet.dropped)
	}
	f.mu.Unlock()
	got, dropped, heard := 0, 0, false
	in := bufio.NewReader(r)
	for got+dropped < flood || !heard {
		raw, err := in.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch l := decode(t, raw)[0]; {
		case l.Agent == "quiet":
			heard = true
		case l.Stream == StreamNote:
			dropped += l.Dropped
			if !strings.Contains(l.Text, fmt.Sprintf("%d lines were not forwarded", l.Dropped)) {
				t.Errorf("%+v", l)
			}
		default:
			got++
		}
	}
	f.Close(t.Context())
	if c.dropped != dropped || dropped == 0 || got+dropped != flood || f.size != 0 || loud.size != 0 {
		t.Errorf("%d lines read, %d told as dropped, %d counted as such; %d bytes left", got, dropped, c.dropped, f.size)
	}
}

// broken fails as a pipe without a reader does, until it is mended. It writes the
// beginning of what it fails on.
type broken struct {
	mu     sync.Mutex
	mended bool
	out    bytes.Buffer
}

func (b *broken) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mended {
		n, _ := b.out.Write(p[:1])
		return n, unix.EPIPE
	}
	return b.out.Write(p)
}

func TestReaderIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c := &broken{}, &counts{}
		f := New(w, "r1", c, slog.New(slog.DiscardHandler))
		a := f.Agent("a")
		for i := range 5 {
			a.Stored(1, stored(contracts.OutputText, fmt.Sprint("lost ", i)))
			time.Sleep(3 * retryAfter)
		}
		synctest.Wait()
		w.mu.Lock()
		w.mended = true
		w.mu.Unlock()
		time.Sleep(2 * retryAfter)
		a.Stored(1, stored(contracts.OutputText, "found"))
		f.Close(t.Context())
		whole := ""
		for raw := range strings.Lines(w.out.String()) {
			if len(raw) > 2 { // more than the byte that a failure has left
				whole += raw
			}
		}
		lines := decode(t, []byte(whole))
		dropped := 0
		for _, l := range lines {
			dropped += l.Dropped
		}
		if dropped != 5 || c.dropped != 5 || len(lines) == 0 || lines[len(lines)-1].Text != "found" {
			t.Errorf("%d told as dropped, %d counted: %s", dropped, c.dropped, w.out.String())
		}
	})
}

// The runner ends although nobody reads.
func TestCloseDoesNotWaitForAReader(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	f := New(w, "r1", &counts{}, slog.New(slog.DiscardHandler))
	f.Agent("a").Stored(1, stored(contracts.OutputText, "waits"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	f.Close(ctx)
	if ctx.Err() == nil {
		t.Error("it has written without a reader")
	}
	_ = r.Close() // which ends the write
	<-f.done
}

func BenchmarkForward(b *testing.B) {
	f := New(io.Discard, "r1", &counts{}, slog.New(slog.DiscardHandler))
	a := f.Agent("a")
	lines := stored(contracts.OutputText, strings.Repeat("x", 100))
	b.SetBytes(int64(len(lines)))
	for b.Loop() {
		a.Stored(1, lines)
	}
	f.Close(b.Context())
	b.ReportMetric(100*float64(f.counts.(*counts).dropped)/float64(b.N), "%dropped")
}
