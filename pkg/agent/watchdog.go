package agent

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// piece is work that the watchdog watches: a call of Work, or of Handle for one
// task. Each must make progress, whatever the others do.
type piece struct {
	// name is "Work" or "task t1"; profiles label its goroutines with it.
	name string
	// moved is when it last made progress, as a time.Duration since the agent
	// started.
	moved atomic.Int64
}

// do runs f as a piece, in this goroutine and those that it starts, and hands what
// became of it to done.
func (a *Agent) do(ctx context.Context, p *piece, f func(context.Context) error, done func(error)) {
	p.moved.Store(int64(time.Since(a.started)))
	a.mu.Lock()
	a.pieces[p] = struct{}{}
	a.mu.Unlock()
	pprof.Do(ctx, pprof.Labels(labelAgent, a.o.Agent, labelWork, p.name), func(ctx context.Context) {
		catch(func() error { return f(ctx) }, func(err error) {
			a.mu.Lock()
			delete(a.pieces, p)
			delete(a.busy, p)
			a.mu.Unlock()
			a.lookIfStuck()
			done(err)
		})
	})
}

// moved notes that a piece has made progress.
func (a *Agent) moved(p *piece) {
	a.progress.Add(1)
	if a.o.Watchdog == 0 {
		return
	}
	p.moved.Store(int64(time.Since(a.started)))
	a.lookIfStuck()
}

func (a *Agent) lookIfStuck() {
	if a.isStuck.Load() {
		poke(a.look)
	}
}

// guard is the watchdog. It looks when the next piece may be overdue, and whenever
// the agent is stuck and something moves.
func (a *Agent) guard() {
	wake := time.Now().Add(a.o.Watchdog)
	timer := time.NewTimer(a.o.Watchdog)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.look:
		case <-a.stopping:
			return // the drain timeout bounds what is still running
		}
		now := time.Now()
		next := a.watch(now, wake)
		wake = now.Add(next)
		timer.Reset(next)
	}
}

// watch is one look at now, which was due at wake at the latest. It returns after
// how long the next is due.
func (a *Agent) watch(now, wake time.Time) time.Duration {
	worst, next := a.overdue(now, now.Sub(wake) > a.o.Watchdog/4)
	stuck := ""
	if worst != nil {
		still := now.Sub(a.started) - time.Duration(worst.moved.Load())
		stuck = contracts.Clip(fmt.Sprintf("%s has made no progress for %s", worst.name, still.Round(time.Millisecond)), contracts.MaxHeartbeatDetail)
	}
	a.mu.Lock()
	before := a.stuck
	if (before == "") == (stuck == "") {
		a.mu.Unlock()
		return next
	}
	a.stuck = stuck
	a.isStuck.Store(stuck != "")
	a.mu.Unlock()
	if worst == nil {
		a.log.Info("there is progress again; heartbeats resume", "before", before)
	} else {
		a.log.Error("watchdog ran out; heartbeats cease until there is progress",
			"work", worst.name, "detail", stuck, "watchdog", a.o.Watchdog, "stack", stackOf(a.o.Agent, worst.name))
		poke(a.look) // it may have moved before isStuck was set
	}
	poke(a.kick)
	return next
}

// overdue returns the piece that is overdue for longest, if any is, and after how
// long another may be. If the whole process stood still, stopped or asleep with its
// host, no piece could move, and each has its full time again.
func (a *Agent) overdue(now time.Time, stoodStill bool) (worst *piece, next time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next = a.o.Watchdog
	var first time.Time
	for p := range a.pieces {
		if stoodStill {
			p.moved.Store(int64(now.Sub(a.started)))
		}
		due := a.started.Add(time.Duration(p.moved.Load()) + a.o.Watchdog)
		for _, until := range []time.Time{a.busy[p], a.busy[&a.loop]} {
			if until.After(due) {
				due = until
			}
		}
		switch {
		case due.After(now):
			next = min(next, due.Sub(now))
		case worst == nil || due.Before(first):
			worst, first = p, due
		}
	}
	return worst, next
}

// Labels of an agent's goroutines in profiles.
const (
	labelAgent = "agent"
	labelWork  = "work"
)

// stackOf returns where the goroutines of a piece are, a frame a line, at most
// contracts.MaxOutputTail bytes.
func stackOf(agent, work string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	labels := []string{fmt.Sprintf("%q:%q", labelAgent, agent), fmt.Sprintf("%q:%q", labelWork, work)}
	var stacks strings.Builder
	for goroutines := range strings.SplitSeq(profile.String(), "\n\n") {
		_, rest, _ := strings.Cut(goroutines, "\n# labels: ")
		head, frames, _ := strings.Cut(rest, "\n")
		if !strings.Contains(head, labels[0]) || !strings.Contains(head, labels[1]) {
			continue
		}
		for frame := range strings.Lines(frames) {
			if words := strings.Fields(frame); len(words) > 2 { // "#", address, function, place
				stacks.WriteString(strings.Join(words[2:], " ") + "\n")
			}
		}
		stacks.WriteString("\n")
	}
	return contracts.Clip(strings.TrimSpace(stacks.String()), contracts.MaxOutputTail)
}
