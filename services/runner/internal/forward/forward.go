// Package forward copies what agents print to the log of the host: a line of JSON
// for each line of output, to where the service manager or the container's runtime
// collects what a program prints.
//
// Agents do not wait for that, nor does the runner. Lines wait in a queue of bounded
// size, of which no agent gets more than its share. What has no room there is dropped
// and counted, and a line says so as soon as there is room again. All of it is in the
// files of package output.
package forward

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxQueue bounds the lines that wait, and maxShare those of one agent, in bytes.
	maxQueue = 4 << 20
	maxShare = maxQueue / 4
	// maxWrite is how much is written at once.
	maxWrite = 64 << 10
	// retryAfter is how long after a failure it is tried to write again.
	retryAfter = time.Second
)

// Counts are told how many lines were written, and dropped.
type Counts interface {
	Forwarded(lines int)
	NotForwarded(lines int)
}

// Forwarder writes lines of all agents. Its methods may be used concurrently.
type Forwarder struct {
	w      io.Writer
	runner string
	counts Counts
	log    *slog.Logger

	wake    chan struct{} // has room for one
	closing chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	queue  []queued
	size   int             // of what waits or is being written, in bytes
	owing  map[*Agent]bool // those that have dropped lines which no line tells of yet
	closed bool
}

// queued is a line that waits.
type queued struct {
	from *Agent
	line []byte
	// dropped is how many lines it says were dropped.
	dropped int
}

// New begins to forward. A write that blocks delays nothing else.
func New(w io.Writer, runner string, counts Counts, log *slog.Logger) *Forwarder {
	f := &Forwarder{
		w: w, runner: runner, counts: counts, log: log, owing: map[*Agent]bool{},
		wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	go f.run()
	return f
}

// Close writes what waits, as far as that can be done until ctx ends: a reader that
// does not read holds up nobody's end.
func (f *Forwarder) Close(ctx context.Context) {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.closing)
	}
	f.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		f.log.Warn("the last output of agents is not forwarded: its reader does not read")
	}
}

// run writes what waits, until it is closed and nothing waits.
func (f *Forwarder) run() {
	defer close(f.done)
	failed, torn := false, false
	for {
		batch := f.next()
		if len(batch) == 0 {
			select {
			case <-f.wake:
				continue
			case <-f.closing:
				if batch = f.next(); len(batch) == 0 {
					return
				}
			}
		}
		n, err := f.write(batch, torn)
		f.written(batch, err)
		if n > 0 || err == nil {
			torn = err != nil
		}
		if err == nil {
			failed = false
			continue
		}
		if !failed {
			failed = true
			f.log.Warn("the output of agents cannot be forwarded; it is tried again every second, and what has no room until then is dropped", "error", err)
		}
		select {
		case <-time.After(retryAfter):
		case <-f.closing:
			return
		}
	}
}

// write writes lines at once, after the end of one that was cut off before.
func (f *Forwarder) write(batch []queued, torn bool) (int, error) {
	var b []byte
	if torn {
		b = append(b, '\n')
	}
	for _, q := range batch {
		b = append(b, q.line...)
	}
	return f.w.Write(b)
}

// next takes the lines that are to be written next. When none wait, agents that have
// dropped some say so.
func (f *Forwarder) next() []queued {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		for a := range f.owing {
			f.note(a)
		}
	}
	n, size := 0, 0
	for n < len(f.queue) && (n == 0 || size+len(f.queue[n].line) <= maxWrite) {
		size += len(f.queue[n].line)
		n++
	}
	batch := f.queue[:n:n]
	if f.queue = f.queue[n:]; len(f.queue) == 0 {
		f.queue = nil
	}
	return batch
}

// written makes room again. Lines that could not be written are dropped.
func (f *Forwarder) written(batch []queued, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range batch {
		f.size -= len(q.line)
		q.from.size -= len(q.line)
		switch {
		case err != nil && q.dropped > 0:
			q.from.dropped += q.dropped
			f.owing[q.from] = true
		case err != nil:
			f.drop(q.from)
		}
	}
	if err == nil {
		f.counts.Forwarded(len(batch))
	}
}

// add queues a line; f.mu is held.
func (f *Forwarder) add(q queued) {
	f.queue = append(f.queue, q)
	f.size += len(q.line)
	q.from.size += len(q.line)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// note queues a line that says how many of an agent were dropped; f.mu is held.
func (f *Forwarder) note(a *Agent) {
	n := a.dropped
	a.dropped = 0
	delete(f.owing, a)
	l := Line{
		Time: time.Now().UTC(), Runner: f.runner, Agent: a.name, Incarnation: a.incarnation, Stream: StreamNote, Dropped: n,
	}
	text := fmt.Appendf(nil, "%d lines were not forwarded, since this log was read too slowly; smith logs %s has them", n, a.name)
	f.add(queued{from: a, line: l.encode(text), dropped: n})
}

// drop counts a line that is not forwarded; f.mu is held.
func (f *Forwarder) drop(from *Agent) {
	from.dropped++
	f.owing[from] = true
	f.counts.NotForwarded(1)
}
