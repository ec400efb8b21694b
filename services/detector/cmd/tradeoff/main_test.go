package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
	"github.com/mistersmith/mistersmith/services/detector/internal/traces"
)

// A quarter of an hour of each trace is enough to see what the plot is for.
func TestTradeoff(t *testing.T) {
	all := traces.Make(3, 15*time.Minute)
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "plot.svg")
	if err := run(&out, all, file, true); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != len(all)+3 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string]int{}
	for dec := xml.NewDecoder(bytes.NewReader(text)); ; {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			shapes[e.Name.Local]++
		}
	}
	if shapes["polyline"] != 3 || shapes["circle"] != 27 {
		t.Errorf("%v", shapes)
	}
}

// A level is about what it says: no kind of trace makes mistakes many times as
// often. The ratios of a day and few seeds are rough; a bound of 3 on the sum
// over all traces is not.
func TestCalibration(t *testing.T) {
	var out bytes.Buffer
	if err := printCalibration(&out, 7, 2, 12*time.Hour); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2+len(calibrated) {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	var expected, made [2]float64
	for _, line := range lines[2:] {
		var e, m [2]float64
		var ratio float64
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if _, err := fmt.Sscanf(rest, "%f | %f | %f | %f | %f | %f |", &e[0], &m[0], &ratio, &e[1], &m[1], &ratio); err != nil || !calibrated[name] {
			t.Fatalf("%q: %v", line, err)
		}
		for i := range e {
			expected[i] += e[i]
			made[i] += m[i]
		}
	}
	for i := range expected {
		if expected[i] == 0 || made[i] == 0 || made[i] > 3*expected[i] {
			t.Errorf("phi %g: %g mistakes, where %g were to be expected", levels[i], made[i], expected[i])
		}
	}
}

// A higher threshold finds deaths later and makes no more mistakes; and in this
// the shipped algorithm is better than both others.
func TestEveryAlgorithmTradesOneForTheOther(t *testing.T) {
	curves, err := sweep(traces.Make(5, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[suspicion.Algorithm]outcome{}
	for _, c := range curves {
		var last outcome
		for _, o := range c.points {
			if o.threshold == 0 {
				defaults[c.name] = o
				continue
			}
			if o.intervals < last.intervals || last.intervals > 0 && o.mistakes > last.mistakes {
				t.Errorf("%s: %+v after %+v", c.name, o, last)
			}
			last = o
		}
	}
	tail := defaults[suspicion.Tail]
	if tail.mistakes > defaults[suspicion.Normal].mistakes || tail.mistakes > defaults[suspicion.Fixed].mistakes || tail.intervals > defaults[suspicion.Fixed].intervals {
		t.Errorf("%+v", defaults)
	}
}
