package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mistersmith/mistersmith/pkg/agent"
)

// record is one line of the records file.
type record struct {
	// Event is start, stop, task, or double_run: another process already ran
	// as this agent when this one started.
	Event       string    `json:"event"`
	Agent       string    `json:"agent"`
	Incarnation uint64    `json:"incarnation"`
	PID         int       `json:"pid"`
	Time        time.Time `json:"time"`
	Error       string    `json:"error,omitempty"`
	Task        string    `json:"task,omitempty"`
	Attempt     int       `json:"attempt,omitempty"`
}

// records appends to the records file. A lock that the kernel drops when the
// process dies, however it dies, tells whether two copies ever ran at once.
type records struct {
	file, lock *os.File
	base       record
}

// openRecords gives records that are thrown away when there is no path.
func openRecords(path string, o agent.Options) (*records, error) {
	r := &records{base: record{Agent: o.Agent, Incarnation: o.Incarnation, PID: os.Getpid()}}
	if path == "" {
		return r, nil
	}
	var err error
	if r.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	if r.lock, err = os.OpenFile(path+"."+o.Agent+".lock", os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	return r, nil
}

// start records the start, and a double run when the lock is held.
func (r *records) start() error {
	if r.lock != nil && syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		if err := r.append("double_run", nil); err != nil {
			return err
		}
	}
	return r.append("start", nil)
}

func (r *records) stop(cause error) error { return r.append("stop", cause) }

func (r *records) task(t *agent.Task) error {
	one := *r
	one.base.Task, one.base.Attempt = t.ID, t.Attempt
	return one.append("task", nil)
}

// append writes one line with one call, so that lines of many processes do not
// mix.
func (r *records) append(event string, cause error) error {
	if r.file == nil {
		return nil
	}
	line := r.base
	line.Event, line.Time = event, time.Now().UTC()
	if cause != nil {
		line.Error = cause.Error()
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if _, err := r.file.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}

func (r *records) close() {
	for _, f := range []*os.File{r.file, r.lock} {
		if f != nil {
			_ = f.Close() // nothing is buffered
		}
	}
}
