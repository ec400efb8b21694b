package reaper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// version of the messages and files. A runner does not use a reaper of another, so
// what is added to them has to do without: an older reaper leaves it out, an older
// runner ignores it.
const version = 1

// op is what a message says.
type op string

// Messages of the runner.
const (
	opStart op = "start" // start a program; with the files of startFiles
	opAbort op = "abort" // end a program whose start cannot be used
	opTaken op = "taken" // the status is in the runner's record
)

// Messages of the reaper. It begins with opHello, tells of each program that it
// has, and then says opReady.
const (
	opHello   op = "hello"   // with Version, and Process and Around of the reaper
	opRunning op = "running" // a program runs as Process
	opEnded   op = "ended"   // a program has ended as Exit
	opReady   op = "ready"
	opStarted op = "started" // the answer to opStart, with a pidfd
	opFailed  op = "failed"  // the answer to opStart or opAbort: it does not run
)

// message is one packet on the socket.
type message struct {
	Op      op               `json:"op"`
	Token   string           `json:"token,omitempty"` // names one start
	Version int              `json:"version,omitempty"`
	Process process.Identity `json:"process,omitzero"`
	Around  string           `json:"around,omitempty"` // see surroundings
	Exit    *Exit            `json:"exit,omitempty"`
	// Error and Errno are why a program was not started.
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
}

// Exit is how a program ended.
type Exit struct {
	Process process.Identity `json:"process"`
	Wait    uint32           `json:"wait"` // as wait(2) reports it
	At      time.Time        `json:"at"`
	// Lived and Used are left out by older reapers.
	Lived contracts.Duration   `json:"lived,omitempty"`
	Used  *contracts.Resources `json:"used,omitempty"`
}

// maxMessage bounds a message and a file of exits. Commands, which may be longer,
// travel as files.
const maxMessage = 16 << 10

// maxError bounds the text of an error, of which each byte can become six.
const maxError = maxMessage / 8

var errMessage = errors.New("message not understood")

// decodeMessage reads a message of either side.
func decodeMessage(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	bad := func(why string) (message, error) {
		return message{}, fmt.Errorf("%w: %.32q %s", errMessage, string(m.Op), why)
	}
	switch m.Op {
	case opReady:
		return m, nil
	case opHello:
		if m.Process.PID <= 0 {
			return bad("without a process")
		}
		return m, nil
	case opStart, opAbort, opTaken, opRunning, opEnded, opStarted, opFailed:
	default:
		return bad("is unknown")
	}
	if !validToken(m.Token) {
		return bad("without a token")
	}
	if (m.Op == opRunning || m.Op == opStarted) && m.Process.PID <= 0 {
		return bad("without a process")
	}
	if m.Op == opEnded && m.Exit == nil {
		return bad("without an exit")
	}
	return m, nil
}

// validToken reports whether a token is one: it becomes the name of a file.
func validToken(token string) bool {
	id, err := uuid.Parse(token)
	return err == nil && id.String() == token
}

// decodeExit reads a file of exits.
func decodeExit(b []byte) (Exit, error) {
	var e Exit
	if err := json.Unmarshal(b, &e); err != nil || e.Process.PID <= 0 || e.At.IsZero() {
		return Exit{}, fmt.Errorf("exit: %w", errors.Join(errMessage, err))
	}
	return e, nil
}

// command is a program to start. Arguments and environment are bytes, which
// need not be text.
type command struct {
	process.Command
	RawArgv, RawEnv []byte // each string ends with a zero byte
}

func encodeCommand(c process.Command) ([]byte, error) {
	return json.Marshal(command{Command: c, RawArgv: joinStrings(c.Argv), RawEnv: joinStrings(c.Env)})
}

func decodeCommand(b []byte) (process.Command, error) {
	var c command
	if err := json.Unmarshal(b, &c); err != nil {
		return process.Command{}, fmt.Errorf("command: %w: %w", errMessage, err)
	}
	c.Argv, c.Env = splitStrings(c.RawArgv), splitStrings(c.RawEnv)
	if len(c.Argv) == 0 {
		return process.Command{}, fmt.Errorf("command: %w: no program", errMessage)
	}
	return c.Command, nil
}

func joinStrings(list []string) []byte {
	var b []byte
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

func splitStrings(b []byte) []string {
	var list []string
	for s := range bytes.SplitAfterSeq(b, []byte{0}) {
		if len(s) > 0 {
			list = append(list, string(bytes.TrimSuffix(s, []byte{0})))
		}
	}
	return list
}
