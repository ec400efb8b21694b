package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

type recordCmd struct {
	clientFlags
	Agents []string      `arg:"" optional:"" help:"The agents; all if left out."`
	Out    string        `required:"" placeholder:"FILE" help:"Where to write it; the file must not exist yet. - is standard output."`
	For    time.Duration `default:"0s" help:"How long to go on recording; 0s writes only what the detector remembers."`
}

func (recordCmd) Help() string {
	return "Begins with what the detector remembers of the heartbeats, starts and ends of the agents and of its own troubles, and goes on for as long as asked. " +
		"The detector remembers the last 65,536 of the whole fleet, so recording costs it nothing. Ctrl-C ends a recording early and leaves it whole.\n\n" +
		"Examples:\n  smith detector record --out all.jsonl\n  smith detector record crawler-1 crawler-2 --for 1h --out crawlers.jsonl"
}

// recordEvery is how often the detector is asked for more.
const recordEvery = time.Second

func (c *recordCmd) Run(a *app) (err error) {
	if len(c.Agents) > contracts.MaxRecordedAgents {
		return usagef("%d agents; name at most %d, or none for all", len(c.Agents), contracts.MaxRecordedAgents)
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	file, err := c.create(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r := recorder{cmd: c, app: a, nc: nc, out: bufio.NewWriter(file)}
	if err := r.run(); err != nil {
		return err
	}
	if c.Out != "-" {
		fmt.Fprintf(a.stdout, "%d entries in %s\n", r.entries, c.Out)
	}
	return nil
}

// create makes the file to write to.
func (c *recordCmd) create(a *app) (io.WriteCloser, error) {
	if c.Out == "-" {
		return unclosed{a.stdout}, nil
	}
	f, err := os.OpenFile(c.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, usagef("--out: %s exists; choose another name or remove it", c.Out)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: --out: %w", errUsage, err)
	}
	return f, nil
}

// unclosed stays open when it is closed.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// recorder copies what the detector hears to a file.
type recorder struct {
	cmd      *recordCmd
	app      *app
	nc       *nats.Conn
	out      *bufio.Writer
	detector string
	after    uint64
	entries  int
}

func (r *recorder) run() error {
	if err := r.page(); err != nil {
		return err
	}
	end := time.Now().Add(r.cmd.For)
	for time.Now().Before(end) {
		select {
		case <-r.app.ctx.Done():
			return nil
		case <-time.After(min(recordEvery, time.Until(end))):
		}
		if err := r.page(); err != nil {
			if r.app.ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the recording ends after %d entries: %w", r.entries, err)
		}
	}
	return nil
}

// page writes what is new.
func (r *recorder) page() error {
	for {
		reply, err := askOn[contracts.RecordingReply](r.app, r.cmd.clientFlags, r.nc, contracts.ServiceDetector, "recording",
			contracts.RecordingRequest{Agents: r.cmd.Agents, After: r.after})
		if err != nil {
			return err
		}
		lines := json.NewEncoder(r.out)
		switch {
		case r.detector == "":
			r.detector = reply.Detector
			if err := lines.Encode(detector.RecordingHeader{
				Format: detector.RecordingFormat, Detector: reply.Detector, Taken: time.Now().UTC(), Settings: reply.Settings,
			}); err != nil {
				return err
			}
		case r.detector != reply.Detector:
			return errors.New("the detector was started anew; record again")
		case reply.Lost > 0:
			return fmt.Errorf("the detector forgot %d entries before they were read; record fewer agents", reply.Lost)
		}
		for _, e := range reply.Entries {
			if err := lines.Encode(e); err != nil {
				return err
			}
		}
		r.entries += len(reply.Entries)
		r.after = reply.Next
		if !reply.More {
			return r.out.Flush()
		}
	}
}
