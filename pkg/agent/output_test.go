package agent

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Whatever agents print, however it is cut, a reader who follows gets it all or is
// told how much it has missed, and no more is kept than may be.
func TestOutputLosesNothingUnsaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &output{limit: leastOutput}
		var wrote, got []byte // of the present incarnation
		var p *printed
		var incarnation uint64
		at, missed := int64(0), false
		read := func() {
			for {
				reply, data, _, err := o.read("h", contracts.LogsRequest{Agent: "a", Incarnation: incarnation, At: &at})
				if err != nil || reply.At != at+reply.Dropped || reply.Next != reply.At+int64(len(data)) || reply.End < reply.Next {
					t.Fatalf("%+v, %d bytes, %v", reply, len(data), err)
				}
				missed = missed || reply.Dropped > 0
				if at = reply.Next; len(data) == 0 {
					return
				}
				got = append(got, data...)
			}
		}
		check := func() {
			var text []byte
			for stored := range bytes.Lines(got) {
				line, err := contracts.ParseOutputLine(bytes.TrimSuffix(stored, []byte{'\n'}))
				if err != nil {
					t.Fatalf("%q: %v", stored, err)
				}
				if line.Tag == contracts.OutputRest && len(text) > 0 {
					text = bytes.TrimSuffix(text, []byte{'\n'})
				}
				text = append(append(text, line.Text...), '\n')
			}
			whole := append(bytes.TrimSuffix(wrote, []byte{'\n'}), '\n')
			if len(wrote) > 0 && !missed && !bytes.Equal(text, whole) {
				t.Fatalf("%q was printed, and reads %q", whole, text)
			}
		}
		for range rapid.IntRange(1, 4).Draw(t, "incarnations") {
			incarnation++
			p = o.begin(incarnation)
			wrote, got, at, missed = nil, nil, 0, false
			for range rapid.IntRange(0, 20).Draw(t, "writes") {
				part := bytes.Repeat(rapid.SliceOfN(rapid.SampledFrom([]byte("ab\n\x00\x1b\xff")), 1, 40).Draw(t, "part"), rapid.SampledFrom([]int{1, 50}).Draw(t, "times"))
				wrote = append(wrote, part...)
				_, _ = p.Write(part)
				if rapid.Bool().Draw(t, "read") {
					read()
				}
			}
			p.end("")
			read()
			check()
			sum := 0
			for _, p := range o.runs {
				sum += len(p.lines)
			}
			if sum > o.limit {
				t.Fatalf("%d bytes are kept, of %d", sum, o.limit)
			}
		}
	})
}

// A flood does not wash away how the incarnation before it ended, and those that
// printed nothing take no place.
func TestOutputKeepsTheEndBeforeTheNewest(t *testing.T) {
	o := &output{limit: leastOutput}
	for n := range uint64(30) {
		p := o.begin(n + 1)
		if n%2 == 0 {
			for i := range 1000 {
				fmt.Fprintf(p, "line %d of %d\n", i, n+1)
			}
			p.end("the end")
		} else {
			p.end("")
		}
	}
	newest := o.begin(31)
	_, _ = newest.Write([]byte(strings.Repeat("flood\n", 10_000)))
	reply, data, _, err := o.read("h", contracts.LogsRequest{Agent: "a", Previous: true, Lines: 1})
	if err != nil || reply.Incarnation != 29 || !strings.HasSuffix(string(data), " the end\n") {
		t.Errorf("%+v, %q, %v", reply, data, err)
	}
	if len(o.runs) > maxPrinted || len(o.runs) < 2 {
		t.Errorf("%d incarnations are kept", len(o.runs))
	}
	past := time.Now().Add(-time.Hour)
	if reply, _, _, err := o.read("h", contracts.LogsRequest{Agent: "a", Since: &past}); err != nil || reply.Dropped != 0 || reply.At == 0 {
		t.Errorf("since an hour ago: %+v, %v", reply, err)
	}
}
