package agent

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// A process that stood still, because it was stopped or its host slept, finds its
// watchdog late. Its work had no chance to move meanwhile.
func TestWatchdogExcusesAProcessThatStoodStill(t *testing.T) {
	a := newAgent(context.Background(), Options{Agent: "w1", Watchdog: time.Minute, Log: slog.New(slog.DiscardHandler)}.withDefaults(), nil)
	a.pieces[&a.loop] = struct{}{}
	due := a.started.Add(time.Minute)
	if worst, _ := a.overdue(due.Add(-1), false); worst != nil {
		t.Error("stuck before its time")
	}
	late := due.Add(time.Hour)
	if next := a.watch(late, due); next != time.Minute || a.stuck != "" {
		t.Errorf("after a standstill: %q, next look after %s, want a full minute", a.stuck, next)
	}
	a.watch(late.Add(time.Minute), late.Add(time.Minute))
	if a.stuck != "Work has made no progress for 1m0s" {
		t.Errorf("a minute later: %q", a.stuck)
	}
}
