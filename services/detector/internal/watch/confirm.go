package watch

import (
	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// unconfirmed is a verdict on silence that nobody has been told yet: only when
// the detector's own heartbeat, sent after it, has come back through the same
// queue is it certain that nothing of the agent's was on its way.
type unconfirmed struct {
	verdict fleet.Finding
	canary  uint64 // the number that confirms it
	at      fleet.Instant
}

// doubtful tells whether a verdict rests on silence alone.
func doubtful(r fleet.Reason) bool {
	return r == fleet.HeartbeatTimeout || r == fleet.ConnectionLost || r == fleet.NoFirstHeartbeat
}

// await keeps a verdict until the next canary is back, or where canaries do not
// come back until all is read that has come by now. Called with mu held.
func (w *Watcher) await(now fleet.Instant, fd fleet.Finding) {
	next, _ := w.canary.following()
	w.awaiting = append(w.awaiting, unconfirmed{fd, next, now})
	w.awaited[fd.Agent] = next
}

// settle tells the verdicts that wait for no canary, as there is none. Called
// with mu held.
func (w *Watcher) settle(now fleet.Instant) {
	if len(w.awaiting) == 0 {
		return
	}
	if _, works := w.canary.following(); works {
		return
	}
	// What waits may have come up to a tick before it was noticed.
	read := now
	if behind := w.behind(now); behind > 0 {
		read = now - behind - w.cfg.Tick
	}
	w.confirm(now, func(u unconfirmed) bool { return u.at <= read })
}

// retract takes back the verdicts that were not told yet: heartbeats were lost,
// and those may be among them. Silence begins anew for these agents as for all.
// Called with mu held.
func (w *Watcher) retract(now fleet.Instant) {
	for _, u := range w.awaiting {
		agent := u.verdict.Agent
		if w.awaited[agent] != u.canary || !w.dismiss(agent) {
			continue
		}
		before, banded := w.bandBefore[agent]
		delete(w.bandBefore, agent)
		if !banded {
			before = fleet.Degraded
		}
		w.fleet.Retract(now, agent, u.verdict.Incarnation, before)
	}
	w.awaiting = nil
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

// confirm tells the verdicts, oldest first, that are certain. Amid a grace they
// wait on, and so they do when heartbeats were dropped: a canary that came
// through says nothing of those.
func (w *Watcher) confirm(now fleet.Instant, certain func(unconfirmed) bool) {
	if w.fleet.Trusted(now) < w.fleet.GraceUntil() || w.fleet.Suspended() || w.unreckoned() > 0 {
		return
	}
	for len(w.awaiting) > 0 && certain(w.awaiting[0]) {
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
	if fd.Reason == fleet.NoFirstHeartbeat || fd.About.Type == fleet.TypeRunner {
		// A runner's is the word on which its host is given up, or not.
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
}

// withdraw drops what is held or unconfirmed about an agent.
func (w *Watcher) withdraw(now fleet.Instant, agent string, by func(correlation.Instant, string) (bool, []correlation.Effect)) bool {
	dismissed := w.dismiss(agent)
	return w.absolved(now, agent, by) || dismissed
}
