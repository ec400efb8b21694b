package forward

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Line is what is written for a line of output.
type Line struct {
	Time        time.Time `json:"time"`
	Runner      string    `json:"runner"`
	Agent       string    `json:"agent"`
	Incarnation uint64    `json:"incarnation"`
	Stream      Stream    `json:"stream"`
	Text        string    `json:"text"`
	// Rest says that the line before was too long, and this continues it.
	Rest bool `json:"rest,omitempty"`
	// Dropped is how many lines are missing here; only in notes.
	Dropped int `json:"dropped,omitempty"`
}

// Stream says where a line comes from.
type Stream string

// Streams.
const (
	// StreamOutput: the agent printed it, to standard output or standard error,
	// which are one for it.
	StreamOutput Stream = "output"
	// StreamNote: the runner says it about the agent's output.
	StreamNote Stream = "note"
)

// maxLine bounds a line, so that journald and the runtimes of containers do not
// break it.
const maxLine = 16 << 10

// Agent takes the output of one agent. Stored is called by one goroutine at a time.
type Agent struct {
	f    *Forwarder
	name string
	// part is the beginning of a line that has not ended yet.
	part []byte

	// These are guarded by f.mu.
	incarnation uint64 // that of the last line
	size        int    // of its lines that wait or are being written, in bytes
	dropped     int    // lines that no line tells of yet
}

// Agent returns what takes the output of an agent.
func (f *Forwarder) Agent(name string) *Agent { return &Agent{f: f, name: name} }

// Stored takes output lines as they are stored, see package contracts. The last may
// not have ended: what follows continues it.
func (a *Agent) Stored(incarnation uint64, lines []byte) {
	for len(lines) > 0 {
		text, rest, ended := bytes.Cut(lines, []byte{'\n'})
		if lines = rest; !ended {
			a.part = append(a.part, text...)
			return
		}
		if len(a.part) > 0 {
			text = append(a.part, text...)
			a.part = nil
		}
		if line, err := contracts.ParseOutputLine(text); err == nil && line.Tag != contracts.OutputNote {
			a.forward(incarnation, line)
		}
	}
}

// forward queues a line, in parts that are short enough.
func (a *Agent) forward(incarnation uint64, line contracts.OutputLine) {
	if !a.admit(incarnation, len(line.Text)) {
		return
	}
	out := Line{
		Time: line.Time, Runner: a.f.runner, Agent: a.name, Incarnation: incarnation, Stream: StreamOutput,
		Rest: line.Tag == contracts.OutputRest,
	}
	var parts [][]byte
	for text := line.Text; len(parts) == 0 || len(text) > 0; out.Rest = true {
		n := whole(text, maxLine/2)
		part := out.encode(text[:n])
		for len(part) > maxLine { // of characters that take six for one
			n = whole(text, n/2)
			part = out.encode(text[:n])
		}
		parts, text = append(parts, part), text[n:]
	}
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if a.dropped > 0 {
		a.f.note(a)
	}
	for _, part := range parts {
		a.f.add(queued{from: a, line: part})
	}
}

// whole is the length of the beginning of a text, at most n, that cuts no character.
func whole(text []byte, n int) int {
	if n >= len(text) {
		return len(text)
	}
	for cut := n; cut > n-utf8.UTFMax; cut-- {
		if utf8.RuneStart(text[cut]) {
			return cut
		}
	}
	return n // it is no text
}

// admit reports whether there is room for a text; otherwise it is dropped.
func (a *Agent) admit(incarnation uint64, n int) bool {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.incarnation = incarnation
	if !a.f.closed && a.f.size+n <= maxQueue && a.size+n <= maxShare {
		return true
	}
	a.f.drop(a)
	return false
}

// encode returns the line with a text and a newline. Whoever sees it on a terminal
// has no control characters there.
func (l Line) encode(text []byte) []byte {
	l.Text = string(text)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(l) // it has nothing that cannot be
	body := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	if bytes.IndexFunc(body, unicode.IsControl) >= 0 { // those that JSON allows
		var escaped []byte
		for _, r := range string(body) {
			if unicode.IsControl(r) {
				escaped = fmt.Appendf(escaped, `\u%04x`, r)
			} else {
				escaped = utf8.AppendRune(escaped, r)
			}
		}
		body = escaped
	}
	return append(body, '\n')
}
