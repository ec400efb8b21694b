package contracts

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// Output of an agent is stored, and sent to those who follow it, as lines:
//
//	2026-01-02T15:04:05.123Z text
//
// The time is when a runner read the beginning of the line, in UTC. The
// character after it says what the rest is, see [OutputTag]. The text is what the
// agent printed, byte for byte.

// OutputTag is the character between the time and the text of an output line.
type OutputTag byte

// Tags of an output line.
const (
	// OutputText: a line that the agent printed.
	OutputText OutputTag = ' '
	// OutputRest: the line before was too long, or was cut off; this continues it.
	OutputRest OutputTag = '+'
	// OutputNote: a remark of the runner.
	OutputNote OutputTag = '!'
)

const outputTime = "2006-01-02T15:04:05.000Z"

// OutputPrefix is the length of an output line's time and tag.
const OutputPrefix = len(outputTime) + 1

// MaxOutputLine bounds the text of one output line; a longer line is continued.
const MaxOutputLine = 16 << 10

// AppendOutputPrefix appends the time and the tag of an output line.
func AppendOutputPrefix(b []byte, at time.Time, tag OutputTag) []byte {
	return append(at.UTC().AppendFormat(b, outputTime), byte(tag))
}

// OutputLine is one line of an agent's output. Text has no newline, and may have
// any other byte.
type OutputLine struct {
	Time time.Time
	Tag  OutputTag
	Text []byte
}

// ErrOutputLine tells that a line is not one of an agent's output.
var ErrOutputLine = errors.New("not a line of an agent's output")

// ParseOutputLine reads a line without its newline. Its Text is part of it.
func ParseOutputLine(line []byte) (OutputLine, error) {
	if len(line) < OutputPrefix {
		return OutputLine{}, fmt.Errorf("%w: %d bytes", ErrOutputLine, len(line))
	}
	at, err := time.Parse(outputTime, string(line[:OutputPrefix-1]))
	if err != nil {
		return OutputLine{}, fmt.Errorf("%w: %w", ErrOutputLine, err)
	}
	switch tag := OutputTag(line[OutputPrefix-1]); tag {
	case OutputText, OutputRest, OutputNote:
		return OutputLine{at, tag, line[OutputPrefix:]}, nil
	default:
		return OutputLine{}, fmt.Errorf("%w: %q after its time", ErrOutputLine, byte(tag))
	}
}

// OutputSince is the place in some output of the first line of a time or later. A
// part of a line that it begins with is passed over.
func OutputSince(b []byte, t time.Time) int {
	at := 0
	for at < len(b) {
		text, _, _ := bytes.Cut(b[at:], []byte{'\n'})
		if line, err := ParseOutputLine(text); err == nil && !line.Time.Before(t) {
			return at
		}
		at += len(text) + 1
	}
	return len(b)
}
