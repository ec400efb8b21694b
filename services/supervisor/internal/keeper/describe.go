package keeper

import (
	"context"
	"log/slog"
	"time"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// tell logs what operators want to see of a stored decision.
func (k *Keeper) tell(b *leader.Batch, e tree.Effect) {
	say := func(level slog.Level, what string, about ...any) {
		if !k.env.Log.Enabled(context.Background(), level) {
			return
		}
		k.env.Log.Log(context.Background(), level, what, append([]any{"tree", k.opt.Tree, "event", e.Event}, about...)...)
	}
	switch e.Kind {
	case tree.NoteRestart:
		say(slog.LevelInfo, "restarting", "agent", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-b.At), "reason", e.Reason)
	case tree.NoteRunning:
		say(slog.LevelInfo, "running", "agent", e.Node, "incarnation", e.Incarnation)
	case tree.NoteFinished:
		say(slog.LevelInfo, "finished", "agent", e.Node, "incarnation", e.Incarnation, "reason", e.Reason)
	case tree.NoteBudget:
		say(slog.LevelWarn, "restart waits for budget", "agent", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-b.At), "reason", e.Reason)
	case tree.NoteEscalate, tree.NoteTerminate, tree.NoteCoolOff, tree.NoteIgnore:
		say(slog.LevelWarn, "restart limit", "node", e.Node, "policy", string(e.Kind), "reason", e.Reason)
	case tree.NoteIsolate:
		say(slog.LevelWarn, "set apart", "node", e.Node, "incarnation", e.Incarnation, "in", time.Duration(e.Due-b.At), "reason", e.Reason)
	case tree.Propose:
		say(slog.LevelInfo, "proposal", "node", e.Node, "would", string(e.Action), "reason", e.Reason)
	case tree.NoteMode:
		say(slog.LevelInfo, "mode changed", "node", e.Node, "change", e.Reason)
	case tree.NoteForeign:
		say(slog.LevelWarn, "not started, as it runs already", "agent", e.Node, "reason", e.Reason)
	case tree.NoteConfigure:
		say(slog.LevelInfo, "configuration in force", "source", e.Reason)
	case tree.NoteRolling, tree.NoteRolled:
		say(slog.LevelInfo, e.Reason)
	case tree.NoteRollingStopped:
		say(slog.LevelWarn, e.Reason, "agent", e.Node, "incarnation", e.Incarnation)
	case tree.NoteGiveUp:
		say(slog.LevelError, "giving up the tree", "node", e.Node, "reason", e.Reason)
	}
}
