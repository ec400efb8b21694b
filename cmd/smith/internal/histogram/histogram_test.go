package histogram

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/internal/property"
)

func draw(t interface{ Fatal(...any) }, values []time.Duration, marks []Mark, s Style) string {
	var b strings.Builder
	if err := Draw(&b, values, marks, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDraw(t *testing.T) {
	ms := func(n ...int) (d []time.Duration) {
		for _, n := range n {
			d = append(d, time.Duration(n)*time.Millisecond)
		}
		return d
	}
	marks := []Mark{{1500 * time.Millisecond, "degraded", 33}, {3 * time.Second, "failed", 31}}
	got := draw(t, ms(1000, 1000, 1000, 1000, 1010, 1990), marks, Style{Bars: 4, Width: 8})
	want := `
  1s – 1.248s      ████████ 5
  1.248s – 1.495s
  1.495s – 1.743s
             1.5s  ◀ degraded
  1.743s – 1.99s   ██ 1
               3s  ◀ failed
`
	trim := func(s string) string {
		var out []string
		for l := range strings.Lines(s) {
			out = append(out, strings.Join(strings.Fields(l), " "))
		}
		return strings.TrimSpace(strings.Join(out, "\n"))
	}
	if trim(got) != trim(want) {
		t.Errorf("drew\n%s\nwant\n%s", got, want)
	}
	if s := draw(t, ms(10, 100, 1000), nil, Style{Bars: 3}); !strings.Contains(s, "10ms – 46") {
		t.Errorf("values far apart:\n%s", s)
	}
	if s := draw(t, ms(7, 7), nil, Style{}); strings.Count(s, "\n") != 1 || !strings.Contains(s, "█ 2") {
		t.Errorf("one value:\n%s", s)
	}
	if s := draw(t, nil, marks, Style{Colour: true}); !strings.Contains(s, "\x1b[33m") || !strings.Contains(s, "\x1b[31m") || strings.Count(s, "\n") != 2 {
		t.Errorf("marks alone:\n%q", s)
	}
	if s := draw(t, nil, marks, Style{}); strings.Contains(s, "\x1b") {
		t.Errorf("coloured unasked:\n%q", s)
	}
}

// Every value is in one bar.
func TestNothingIsLost(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		var values []time.Duration
		for range rapid.IntRange(0, 50).Draw(t, "values") {
			values = append(values, time.Duration(rapid.Int64Range(-5, int64(time.Hour)).Draw(t, "value")))
		}
		sum := 0
		for _, b := range split(values, rapid.IntRange(1, 20).Draw(t, "bars")) {
			sum += b.count
			if b.from > b.to {
				t.Fatalf("%+v", b)
			}
		}
		if sum != len(values) {
			t.Fatalf("%d of %d values", sum, len(values))
		}
	})
}
