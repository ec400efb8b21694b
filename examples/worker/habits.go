package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// habits are what the flags say about the worker's behaviour.
type habits struct {
	serviceTime  time.Duration
	startDelay   time.Duration
	runFor       time.Duration
	watchdog     time.Duration
	exitCode     int
	crashStarts  int
	crashCounter string
	ignoreTerm   bool
	mute         bool
	records      string
	recordTasks  bool
	faults       agent.FaultPlan
}

// parse reads flags and, for those not given, the environment.
func parse(args []string, getenv func(string) string) (habits, error) {
	var h habits
	var kinds string
	f := flag.NewFlagSet("worker", flag.ContinueOnError)
	f.DurationVar(&h.serviceTime, "service-time", 100*time.Millisecond, "how long a task takes")
	f.DurationVar(&h.startDelay, "start-delay", 0, "how long to wait before connecting")
	f.DurationVar(&h.runFor, "run-for", 0, "end by itself after this long; 0 means never")
	f.DurationVar(&h.watchdog, "watchdog", 0, "how long a task may hang until the worker ceases to beat; 0 means for ever")
	f.IntVar(&h.exitCode, "exit-code", 1, "exit `code` of -run-for and -crash-starts")
	f.IntVar(&h.crashStarts, "crash-starts", 0, "crash at the first `n` starts; -1 means at every start; needs -crash-counter")
	f.StringVar(&h.crashCounter, "crash-counter", "", "`file` that counts the starts")
	f.BoolVar(&h.ignoreTerm, "ignore-sigterm", false, "do not end on SIGTERM")
	f.BoolVar(&h.mute, "mute", false, "never connect or beat")
	f.StringVar(&h.records, "records", "", "`file` to append a JSON line to at each start and stop, and to <file>.<agent>.lock a lock that tells of two copies")
	f.BoolVar(&h.recordTasks, "record-tasks", false, "append a line for each task begun, too")
	f.Float64Var(&h.faults.Rate, "fault-rate", 0, "share of tasks that get an injected fault, from 0 to 1")
	f.StringVar(&kinds, "fault-kinds", "error", "kinds of injected faults, separated by commas: panic, timeout, error, hang, resource_exhaustion")
	f.Uint64Var(&h.faults.Seed, "fault-seed", 1, "makes the faults repeatable")
	f.DurationVar(&h.faults.Hang, "fault-hang", 0, "how long an injected hang lasts; 0 means 30s")
	if err := f.Parse(args); err != nil {
		return h, err
	}
	if err := fromEnv(f, getenv); err != nil {
		return h, complain(f, err)
	}
	for _, k := range strings.Split(kinds, ",") {
		h.faults.Kinds = append(h.faults.Kinds, agent.FaultKind(strings.TrimSpace(k)))
	}
	if err := h.validate(f.Args()); err != nil {
		return h, complain(f, err)
	}
	if h.mute && h.runFor == 0 {
		h.runFor = 1<<63 - 1
	}
	return h, nil
}

func fromEnv(f *flag.FlagSet, getenv func(string) string) (err error) {
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	f.VisitAll(func(fl *flag.Flag) {
		name := "WORKER_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		v := getenv(name)
		if v == "" || given[fl.Name] || err != nil {
			return
		}
		if e := f.Set(fl.Name, v); e != nil {
			err = fmt.Errorf("%s=%q: %w", name, v, e)
		}
	})
	return err
}

func (h habits) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case h.crashStarts > 0 && h.crashCounter == "":
		return fmt.Errorf("-crash-starts %d needs -crash-counter, a file to count in", h.crashStarts)
	case h.exitCode < 0 || h.exitCode > 255:
		return fmt.Errorf("-exit-code %d is outside 0 to 255", h.exitCode)
	case h.serviceTime < 0 || h.startDelay < 0 || h.runFor < 0:
		return fmt.Errorf("-service-time, -start-delay and -run-for must not be negative")
	}
	return h.faults.Validate()
}

func complain(f *flag.FlagSet, err error) error {
	_, _ = fmt.Fprintln(f.Output(), "worker:", err)
	return err
}

// order is what a task's payload may say.
type order struct {
	Sleep *contracts.Duration `json:"sleep"`
	Fail  string              `json:"fail"`
	Panic bool                `json:"panic"`
	Exit  *int                `json:"exit"`
}

// readOrder takes any payload; only an object can hold orders.
func readOrder(t *agent.Task) (order, error) {
	var o order
	var object map[string]json.RawMessage
	if json.Unmarshal(t.Payload, &object) != nil {
		return o, nil
	}
	return o, t.Decode(&o)
}

// countStart adds one to the number in a file and gives it; 1 without a file.
func countStart(file string) (int, error) {
	if file == "" {
		return 1, nil
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, fmt.Errorf("count starts: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString("."); err != nil {
		return 0, fmt.Errorf("count starts: %w", err)
	}
	n, err := f.Seek(0, io.SeekEnd)
	return int(n), err
}
