package watch

import (
	"math"

	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// unconfirmed is a verdict on silence that nobody has been told yet: only when
// the detector's own heartbeat, sent after it, has come back through the same
// queue is it certain that nothing of the agent's was on its way.
type unconfirmed struct {
	verdict fleet.Finding
	canary  uint64 // the number that confirms it
}

// doubtful tells whether a verdict rests on silence alone.
func doubtful(r fleet.Reason) bool {
	return r == fleet.HeartbeatTimeout || r == fleet.ConnectionLost || r == fleet.NoFirstHeartbeat
}

// await keeps a verdict until the next canary is back. It tells false when
// canaries do not come back here. Called with mu held.
func (w *Watcher) await(fd fleet.Finding) bool {
	next, works := w.canary.following()
	if !works {
		return false
	}
	w.awaiting = append(w.awaiting, unconfirmed{fd, next})
	w.awaited[fd.Agent] = next
	return true
}

// dismiss drops an unconfirmed verdict on an agent, if there is one.
func (w *Watcher) dismiss(agent string) bool {
	_, waits := w.awaited[agent]
	if waits {
		delete(w.awaited, agent)
		w.metrics.withdrawn.Inc()
	}
	return waits
}

// confirm tells the verdicts that a canary confirms. Amid a grace they wait on.
func (w *Watcher) confirm(now fleet.Instant, canary uint64) {
	grace := w.fleet.Trusted(now) < w.fleet.GraceUntil() || w.fleet.Suspended()
	for len(w.awaiting) > 0 && w.awaiting[0].canary <= canary && !grace {
		u := w.awaiting[0]
		w.awaiting[0] = unconfirmed{}
		w.awaiting = w.awaiting[1:]
		if w.awaited[u.verdict.Agent] != u.canary {
			continue // dismissed
		}
		delete(w.awaited, u.verdict.Agent)
		w.confirmed(now, u.verdict)
	}
	if len(w.awaiting) == 0 {
		w.awaiting = nil
	}
}

// confirmed goes on with a verdict that is certain to be silence.
func (w *Watcher) confirmed(now fleet.Instant, fd fleet.Finding) {
	v, known := w.fleet.Agent(now, fd.Agent)
	if !known || !v.Failed || v.Incarnation != fd.Incarnation {
		delete(w.bandBefore, fd.Agent)
		return
	}
	if fd.Reason == fleet.NoFirstHeartbeat {
		w.tellFailed(fd, 0, "")
	} else {
		w.perform(now, w.crowd.Verdict(w.fleet.Trusted(now), member(fd)), &fd)
	}
	if before, banded := w.bandBefore[fd.Agent]; banded && !w.crowd.Held(fd.Agent) {
		delete(w.bandBefore, fd.Agent)
		fd.Kind, fd.From, fd.To = fleet.BandChanged, before, fleet.Unhealthy
		w.tell(now, fd)
	}
}

// trustSilence gives up on canaries that never come back though the server
// answers: what waits for them is told.
func (w *Watcher) trustSilence() {
	w.env.Log.Warn("the detector's own heartbeats do not come back, though the server answers; is it allowed to publish them? it goes on without", "subject", w.canarySubject())
	w.canary.disarm()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.confirm(w.now(), math.MaxUint64)
}

// withdraw drops what is held or unconfirmed about an agent.
func (w *Watcher) withdraw(now fleet.Instant, agent string, by func(correlation.Instant, string) (bool, []correlation.Effect)) bool {
	dismissed := w.dismiss(agent)
	return w.absolved(now, agent, by) || dismissed
}
