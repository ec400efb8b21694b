package main

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// outputPrinter prints the parts of an agent's output.
type outputPrinter struct {
	*app
	w           *bufio.Writer
	plain, json bool
	// escape makes control characters harmless, for terminals.
	escape bool
	// of is whose output it is, begun the line that has no end yet.
	of    contracts.LogsReply
	begun []byte
	// open says that the newline of the last plain text is still to be written:
	// the next line may continue it.
	open bool
}

func newOutputPrinter(a *app, c *logsCmd) *outputPrinter {
	f, ok := a.stdout.(*os.File)
	return &outputPrinter{
		app: a, w: bufio.NewWriterSize(a.stdout, 64<<10), plain: c.Plain, json: c.JSON,
		escape: ok && term.IsTerminal(int(f.Fd())),
	}
}

// write prints a part as far as it has whole lines.
func (o *outputPrinter) write(p part) error {
	if p.Incarnation != o.of.Incarnation || p.Dropped > 0 {
		o.rest()
	}
	o.of = p.LogsReply
	for data := p.data; len(data) > 0; {
		text, left, whole := bytes.Cut(data, []byte{'\n'})
		data = left
		if !whole {
			o.begun = append(o.begun, text...)
			break
		}
		if len(o.begun) > 0 {
			text = append(o.begun, text...)
			o.begun = text[:0]
		}
		if err := o.line(text); err != nil {
			return err
		}
	}
	if len(p.data) == 0 {
		o.rest()
	}
	return o.w.Flush()
}

// rest ends what is begun, if it is not to be continued.
func (o *outputPrinter) rest() {
	if o.open {
		o.open = false
		_ = o.w.WriteByte('\n') // the flush reports it
	}
}

// flush prints what is left, at the end.
func (o *outputPrinter) flush() error {
	if len(o.begun) > 0 {
		if err := o.line(o.begun); err != nil {
			return err
		}
	}
	o.rest()
	return o.w.Flush()
}

// printedLine is a line of --json.
type printedLine struct {
	Time        time.Time `json:"time"`
	Agent       string    `json:"agent"`
	Incarnation uint64    `json:"incarnation"`
	Text        string    `json:"text"`
	// Continues is set where the text continues that of the line before, Note
	// where the runner says it.
	Continues bool `json:"continues,omitempty"`
	Note      bool `json:"note,omitempty"`
}

func (o *outputPrinter) line(stored []byte) error {
	line, err := contracts.ParseOutputLine(stored)
	if err != nil { // after a loss, the rest of a line
		line = contracts.OutputLine{Tag: contracts.OutputRest, Text: stored}
	}
	switch {
	case o.json:
		return (&app{stdout: o.w}).printLine(printedLine{
			line.Time, o.of.Agent, o.of.Incarnation, strings.ToValidUTF8(string(line.Text), "\uFFFD"),
			line.Tag == contracts.OutputRest, line.Tag == contracts.OutputNote,
		})
	case o.plain && line.Tag == contracts.OutputNote:
		return nil
	case o.plain:
		if line.Tag != contracts.OutputRest {
			o.rest()
		}
		o.open = true
	default:
		_, _ = o.w.Write(stored[:len(stored)-len(line.Text)])
	}
	text := line.Text
	if o.escape {
		text = []byte(escapeTabsKept(string(text)))
	}
	_, err = o.w.Write(text)
	if !o.plain {
		err = o.w.WriteByte('\n')
	}
	return err
}

// escapeTabsKept makes a text safe for a terminal.
func escapeTabsKept(s string) string {
	parts := strings.Split(s, "\t")
	for i, p := range parts {
		parts[i] = describe.Plain(p)
	}
	return strings.Join(parts, "\t")
}
