// Command worker is an agent to try supervision with: it works off tasks by
// taking its time, and misbehaves on demand. Its flags can also be set as
// WORKER_<FLAG> in the environment, such as WORKER_SERVICE_TIME=50ms.
//
// A task's payload, all optional, tells it more: {"sleep": "1s", "fail": "why",
// "panic": true, "exit": 3}.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mistersmith/mistersmith/pkg/agent"
)

func main() {
	h, err := parse(os.Args[1:], os.Getenv)
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	if h.mute {
		fmt.Fprintln(os.Stderr, "worker: will never beat")
		time.Sleep(h.runFor)
		os.Exit(h.exitCode)
	}
	if !h.ignoreTerm {
		agent.Main(h.run)
	}
	signal.Ignore(syscall.SIGTERM, os.Interrupt)
	o, err := agent.FromEnv(os.Getenv)
	if err == nil {
		err = h.run(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the worker as an agent.
func (h habits) run(ctx context.Context, o agent.Options) error {
	records, err := openRecords(h.records, o)
	if err != nil {
		return err
	}
	defer records.close()
	if err := records.start(); err != nil {
		return err
	}
	n, err := countStart(h.crashCounter)
	if err != nil {
		return err
	}
	if h.crashStarts < 0 || n <= h.crashStarts {
		fmt.Fprintf(os.Stderr, "worker: crashing at start %d as told\n", n)
		return h.exit(records, "crash at start")
	}
	faults, err := agent.NewFaults(h.faults)
	if err != nil {
		return err
	}
	time.Sleep(h.startDelay)

	o.Watchdog = h.watchdog
	o.Handle = faults.Wrap(h.handler(records))
	if h.runFor > 0 {
		o.Work = func(ctx context.Context, a *agent.Agent) error {
			a.BusyUntil(time.Now().Add(h.runFor))
			select {
			case <-time.After(h.runFor):
				return h.exit(records, "end of -run-for")
			case <-ctx.Done():
				return nil
			}
		}
	}
	err = agent.Run(ctx, o)
	if e := records.stop(err); err == nil {
		err = e
	}
	return err
}

// exit ends the process at once with the code it was told; a code of 0 is no
// reason to hurry.
func (h habits) exit(r *records, why string) error {
	if h.exitCode == 0 {
		return nil
	}
	if err := r.stop(fmt.Errorf("%s, exit code %d", why, h.exitCode)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(h.exitCode)
	return nil
}

// handler works on a task by waiting.
func (h habits) handler(r *records) agent.Handler {
	return func(ctx context.Context, t *agent.Task) (any, error) {
		order, err := readOrder(t)
		if err != nil {
			return nil, err
		}
		if h.recordTasks {
			if err := r.task(t); err != nil {
				return nil, err
			}
		}
		wait := h.serviceTime
		if order.Sleep != nil {
			wait = order.Sleep.D()
		}
		t.BusyUntil(time.Now().Add(wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		switch {
		case order.Exit != nil:
			fmt.Fprintf(os.Stderr, "worker: task %s says to exit with %d\n", t.ID, *order.Exit)
			os.Exit(*order.Exit)
		case order.Panic:
			panic("task " + t.ID + " says to panic")
		case order.Fail != "":
			return nil, fmt.Errorf("task %s says to fail: %s", t.ID, order.Fail)
		}
		return map[string]any{"task": t.ID, "attempt": t.Attempt, "agent": t.Agent().Name(), "pid": os.Getpid()}, nil
	}
}
