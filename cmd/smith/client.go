package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/pkg/natsconn"
)

// clientFlags are those of every command that asks a running system.
type clientFlags struct {
	shell.NATSFlags `group:"NATS"`
	JSON            bool `help:"Print JSON."`
}

// connect opens the connection that the flags describe, or the context that was
// selected with the nats CLI.
func (f clientFlags) connect(a *app) (*nats.Conn, error) {
	f.Selected = true
	nc, err := f.Connect(a.ctx, "smith", a.log)
	if errors.Is(err, natsconn.ErrURL) {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return nc, err
}

// request bounds one question by --timeout.
func (f clientFlags) request(a *app) (context.Context, context.CancelFunc) {
	return context.WithTimeout(a.ctx, f.Timeout)
}

// ask connects, asks one question of a service's API, and gives the answer.
func ask[Resp any](a *app, f clientFlags, service, verb string, req any) (Resp, error) {
	var resp Resp
	nc, err := f.connect(a)
	if err != nil {
		return resp, err
	}
	defer nc.Close()
	return askOn[Resp](a, f, nc, service, verb, req)
}

// askOn is ask on a connection at hand. It waits for a supervisor that takes over.
func askOn[Resp any](a *app, f clientFlags, nc *nats.Conn, service, verb string, req any) (Resp, error) {
	ctx, cancel := f.request(a)
	defer cancel()
	v := vacancy{begin: time.Now(), bound: f.Timeout, reads: reads[verb]}
	for first := true; ; first = false {
		try, done := ctx, context.CancelFunc(func() {})
		if first && quick[verb] {
			try, done = context.WithTimeout(ctx, f.Timeout/4)
		}
		resp, err := shell.Call[Resp](try, nc, contracts.ServiceSubject(service, verb), req)
		lost := try.Err() != nil && ctx.Err() == nil
		done()
		if service != contracts.ServiceSupervisor || !lost && !v.passes(err) {
			return resp, asUsage(err)
		}
		if v.shows == nil {
			v.shows = newProgress(a, f.JSON)
			defer v.shows.close()
		}
		v.shows.set(verb + ": no supervisor answers now")
		if shell.Pause(ctx, askAgain) != nil {
			return resp, asUsage(err)
		}
	}
}

const (
	// takeoverTakes is how long it takes at most until another supervisor decides when
	// one has ended, with time to spare.
	takeoverTakes = 5 * time.Second
	// askAgain is how soon a question is asked again.
	askAgain = 200 * time.Millisecond
)

// reads are the verbs of supervisors that change nothing.
var reads = map[string]bool{
	"tree": true, "status": true, "runners": true, "why": true, "proposals": true, "diff": true, "rehearse": true, "plan": true,
}

// quick are those that are answered soon. One that is not may have gone to a supervisor
// that is paused, or was killed, and is asked of the next.
var quick = map[string]bool{"tree": true, "status": true, "runners": true, "why": true}

// vacancy is the time in which no supervisor decides, since one takes over from another.
type vacancy struct {
	begin time.Time
	// bound is how long the caller waits at most.
	bound time.Duration
	// reads is set for a question that may be asked again although it has arrived.
	reads bool
	shows *progress
}

// passes reports whether to ask again after an error: nobody was there to answer, or a
// supervisor that does not decide, and a takeover may be under way.
func (v *vacancy) passes(err error) bool {
	if time.Since(v.begin) >= min(takeoverTakes, v.bound) {
		return false
	}
	var refused *shell.APIError
	return errors.Is(err, nats.ErrNoResponders) || v.reads && errors.As(err, &refused) && refused.Code == contracts.CodeNotReady
}

// asUsage makes a service's complaint about the request one about the use of
// the command.
func asUsage(err error) error {
	var refused *shell.APIError
	if errors.As(err, &refused) && (refused.Code == contracts.CodeBadRequest || refused.Code == contracts.CodeTooLarge) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}

// printJSON prints v as indented JSON, with empty lists as [].
func (a *app) printJSON(v any) error {
	text, err := contracts.EncodeIndented(v)
	return a.printText(text, err)
}

// printLine prints v as one line of JSON, with empty lists as [].
func (a *app) printLine(v any) error {
	text, err := contracts.Encode(v)
	return a.printText(text, err)
}

func (a *app) printText(text []byte, err error) error {
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(text, '\n'))
	return err
}

// moment is a point in time on the command line: RFC 3339, or a duration ago
// such as 10m.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	// The zero time would mean that none was given.
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil && !t.IsZero() {
		m.Time = t
		return nil
	}
	ago, err := time.ParseDuration(s)
	if err != nil || ago < 0 {
		return fmt.Errorf("%q is neither a time such as 2026-01-02T15:04:05Z nor a duration ago such as 10m", s)
	}
	m.Time = time.Now().Add(-ago)
	return nil
}

func (m *moment) ptr() *time.Time {
	if m == nil || m.IsZero() {
		return nil
	}
	return &m.Time
}

// since renders how long ago something was.
func since(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return round(time.Since(*t)) + " ago"
}

// round shortens a duration for people.
func round(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
