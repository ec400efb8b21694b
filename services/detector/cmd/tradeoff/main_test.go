package main

import (
	"bytes"
	"encoding/xml"
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
