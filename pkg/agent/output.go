package agent

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// output is what the incarnations of one hosted agent printed, as lines of package
// contracts, in memory. The newest has half of the limit. The other half is for those
// before it, so that no flood of the newest washes away how the last one ended; the
// oldest go first.
type output struct {
	limit int

	mu    sync.Mutex
	runs  []*printed    // by incarnation; the last is the newest
	grown chan struct{} // closed at the next change, if somebody waits for one
}

// printed is the output of one incarnation.
type printed struct {
	o           *output
	incarnation uint64
	dropped     int64               // how much before lines is no longer kept
	lines       []byte              // whole lines
	rest        []byte              // a line that has not ended
	tag         contracts.OutputTag // of that line: OutputRest if its beginning is in lines
	at          time.Time           // when it printed last, or began
	ended       bool
}

// maxPrinted bounds the incarnations of an agent of which output is kept.
const maxPrinted = 10

// begin is a new incarnation's output.
func (o *output) begin(incarnation uint64) *printed {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := &printed{o: o, incarnation: incarnation, tag: contracts.OutputText, at: time.Now()}
	// One that printed nothing need not be remembered.
	o.runs = slices.DeleteFunc(o.runs, func(p *printed) bool { return p.ended && len(p.lines) == 0 })
	o.runs = append(o.runs[max(0, len(o.runs)+1-maxPrinted):], p)
	room := o.limit / 2
	for i := len(o.runs) - 2; i >= 0; i-- {
		before := o.runs[i]
		before.cut(room)
		if room -= len(before.lines); len(before.lines) == 0 {
			o.runs = o.runs[i+1:]
			break
		}
	}
	o.change()
	return p
}

// cut drops the oldest lines, so that at most most bytes are left.
func (p *printed) cut(most int) {
	over := len(p.lines) - most
	if over <= 0 {
		return
	}
	if i := bytes.IndexByte(p.lines[over-1:], '\n'); i >= 0 {
		over += i
	}
	p.dropped += int64(over)
	p.lines = append(make([]byte, 0, len(p.lines)-over), p.lines[over:]...)
}

// change wakes those that wait; o.mu is held.
func (o *output) change() {
	if o.grown != nil {
		close(o.grown)
		o.grown = nil
	}
}

// Write implements io.Writer. It never fails, and never waits for a reader.
func (p *printed) Write(text []byte) (int, error) {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	p.write(time.Now(), text)
	return len(text), nil
}

// latest is when the incarnation printed last, or began.
func (p *printed) latest() time.Time {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	return p.at
}

func (p *printed) write(now time.Time, text []byte) {
	p.at = now
	most := min(contracts.MaxOutputLine, p.o.limit/8)
	for part := range bytes.Lines(text) {
		p.rest = append(p.rest, part...)
		line, ended := bytes.CutSuffix(p.rest, []byte{'\n'})
		for ; len(line) > most; line = line[most:] {
			p.add(now, line[:most])
			p.tag = contracts.OutputRest
		}
		if ended {
			p.add(now, line)
			line, p.tag = nil, contracts.OutputText
		}
		p.rest = append(p.rest[:0], line...)
	}
}

func (p *printed) endLine(now time.Time) {
	if len(p.rest) > 0 {
		p.write(now, []byte{'\n'})
	}
}

func (p *printed) add(now time.Time, text []byte) {
	p.lines = contracts.AppendOutputPrefix(p.lines, now, p.tag)
	p.lines = append(append(p.lines, text...), '\n')
	if half := p.o.limit / 2; len(p.lines) > half {
		p.cut(half - half/8) // an eighth at a time, so that not every line moves all
	}
	p.o.change()
}

// end ends the incarnation's output with a last text.
func (p *printed) end(last string) {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	now := time.Now()
	p.endLine(now)
	p.write(now, []byte(last))
	p.endLine(now)
	p.ended = true
	p.o.change()
}

// read answers a request, as [contracts.LogsRequest] says; grown is closed when there
// may be more.
func (o *output) read(runner string, req contracts.LogsRequest) (reply contracts.LogsReply, data []byte, grown <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	reply.Agent = req.Agent
	newest := uint64(0)
	for _, p := range o.runs {
		if newest = p.incarnation; len(p.lines) > 0 {
			reply.Kept = append(reply.Kept, p.incarnation)
		}
	}
	if reply.Incarnation, err = req.Choose(runner, reply.Kept, newest); err != nil {
		return reply, nil, nil, err
	}
	i := slices.IndexFunc(o.runs, func(p *printed) bool { return p.incarnation == reply.Incarnation })
	o.runs[i].read(req, &reply)
	data = o.runs[i].lines[reply.At-o.runs[i].dropped:]
	data = bytes.Clone(data[:min(len(data), contracts.MaxLogsBytes)])
	reply.Next = reply.At + int64(len(data))
	if reply.Ended = len(data) == 0 && o.runs[i].ended; reply.Ended {
		reply.Successor = reply.Following(newest)
	}
	if o.grown == nil {
		o.grown = make(chan struct{})
	}
	return reply, data, o.grown, nil
}

// read finds where the answer begins.
func (p *printed) read(req contracts.LogsRequest, reply *contracts.LogsReply) {
	begin, end := p.dropped, p.dropped+int64(len(p.lines))
	reply.End = end
	switch {
	case req.At != nil:
		reply.At = min(max(*req.At, begin), end)
		reply.Dropped = max(0, begin-*req.At)
		return
	case req.Since == nil && req.Lines == 0:
		reply.At, reply.Dropped = begin, begin
		return
	}
	at := 0
	if req.Since != nil {
		at = contracts.OutputSince(p.lines, *req.Since)
	}
	if req.Lines > 0 {
		at = max(at, lastLines(p.lines, req.Lines))
	}
	reply.At = begin + int64(at)
}

// lastLines is the place of the last n of some whole lines.
func lastLines(lines []byte, n int) int {
	at := len(lines)
	for ; n > 0 && at > 0; n-- {
		at = bytes.LastIndexByte(lines[:at-1], '\n') + 1
	}
	return at
}
