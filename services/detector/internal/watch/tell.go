package watch

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

var health = map[fleet.Band]contracts.Health{
	fleet.Unknown: contracts.HealthUnknown, fleet.Healthy: contracts.HealthHealthy,
	fleet.Degraded: contracts.HealthDegraded, fleet.Unhealthy: contracts.HealthUnhealthy,
}

func bandOf(h contracts.Health) (fleet.Band, bool) {
	for band, name := range health {
		if name == h {
			return band, true
		}
	}
	return 0, false
}

// tell turns a finding into what is to be done about it. Called with mu held.
func (w *Watcher) tell(now fleet.Instant, fd fleet.Finding) {
	switch fd.Kind {
	case fleet.Created:
		if fd.Instances[0] != "" { // another life: what the former did is over
			w.closeStory(fd.Agent, fd.Incarnation)
		}
		if !w.outbox.room(fd.Agent) {
			w.fleet.Untold(fd.Agent)
			return
		}
		w.env.Log.Debug("agent discovered", "agent", fd.Agent, "incarnation", fd.Incarnation)
		if w.peers.speaks(now, fd.Agent) {
			w.post(fd, w.env.Event(contracts.AgentCreated, fd.Agent).Data(contracts.AgentCreatedData{
				Agent: fd.Agent, Type: fd.About.Type, Incarnation: fd.Incarnation, Instance: fd.Instances[0], Interval: contracts.Duration(fd.About.Interval),
				Capabilities: fd.About.Capabilities, Capacity: fd.About.Capacity,
			}))
		}
	case fleet.Failed:
		w.tellFailed(fd, 0, "")
	case fleet.Recovered:
		w.tellRecovered(fd)
	case fleet.BandChanged:
		if !w.peers.speaks(now, fd.Agent) {
			return
		}
		b := w.env.Event(contracts.AgentStateChanged, fd.Agent).Data(contracts.AgentStateChangedData{
			Agent: fd.Agent, Incarnation: fd.Incarnation, From: health[fd.From], To: health[fd.To], Phi: fd.Evidence.Phi,
		})
		if s, failed := w.stories[fd.Agent]; failed && s.incarnation == fd.Incarnation {
			b.Causation(s.id).Correlation(s.correlation)
		}
		w.post(fd, b)
	case fleet.ProbeWanted:
		w.prober.ask(probeOf(fd))
	case fleet.Stalled:
		w.env.Log.Warn("the detector stood still", "for", fd.For)
		w.doubted(causeStall, fd.For)
		w.confess(causeStall, fmt.Sprintf("the detector stood still for %s; that time counts as nobody's silence", fd.For.Round(time.Millisecond)), fd.For)
	case fleet.Conflict:
		w.tellInstances(now, fd)
	case fleet.Full:
		w.env.Log.Debug("too many unannounced agents", "agent", fd.Agent)
		w.report("full", w.env.Event(contracts.SystemPoolExhausted, w.env.Service).Data(contracts.SystemPoolData{
			Service: w.env.Service, Pool: "unannounced_agents", Limit: w.cfg.Rules.MaxAgents,
			Detail: "too many agents beat that nobody announced; those with the fewest heartbeats are forgotten",
		}))
	case fleet.WentBack:
		w.tellConflict(now, fd)
	}
}

// nextWord is the id of what is said now about an agent. It follows from what
// was said before, so that detectors that say the same give it the same id, and
// the log stores it once.
func (w *Watcher) nextWord(kind string, fd fleet.Finding) string {
	return contracts.DerivedID(kind, fd.Agent, strconv.FormatUint(fd.Incarnation, 10), w.words[fd.Agent])
}

// tellFailed publishes a verdict, after it was held for some time on account of
// the event cause, if it was.
func (w *Watcher) tellFailed(fd fleet.Finding, held time.Duration, cause string) {
	e, now := fd.Evidence, time.Now()
	data := contracts.AgentFailedData{
		Agent: fd.Agent, Incarnation: fd.Incarnation, Reason: contracts.FailureReason(fd.Reason),
		Type: fd.About.Type, Runner: fd.About.Runner, Detail: detail(now, fd), Held: contracts.Duration(held),
		Silence: &contracts.Silence{
			Phi: e.Phi, Threshold: e.Threshold, Elapsed: contracts.Duration(e.Elapsed),
			Interval: contracts.Duration(e.Interval), Samples: e.Samples, Rule: string(e.Rule),
		},
	}
	if e.Since == fleet.SinceHeartbeat {
		at := now.Add(-e.Elapsed).UTC()
		data.Silence.LastHeartbeat = &at
	}
	w.env.Log.Warn("agent failed", "agent", fd.Agent, "incarnation", fd.Incarnation, "reason", string(fd.Reason), "phi", e.Phi, "silent", e.Elapsed)
	w.metrics.verdicts.WithLabelValues(string(fd.Reason)).Inc()
	w.metrics.detection.WithLabelValues(string(e.Rule)).Observe(e.Elapsed.Seconds())
	b := w.env.Event(contracts.AgentFailed, fd.Agent).ID(w.nextWord("agent.failed", fd)).Causation(cause).Data(data)
	if ev, ok := w.post(fd, b); ok {
		w.stories[fd.Agent] = storyOf(ev, data)
		w.words[fd.Agent] = ev.ID
	}
}

// storyOf is the failure that an event tells of.
func storyOf(ev contracts.Event, d contracts.AgentFailedData) story {
	s := story{id: ev.ID, correlation: ev.CorrelationID, incarnation: d.Incarnation, reason: d.Reason}
	if d.Silence != nil {
		s.rule = d.Silence.Rule
	}
	return s
}

// detail is the evidence in one sentence.
func detail(now time.Time, fd fleet.Finding) string {
	e := fd.Evidence
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	switch fd.Reason {
	case fleet.NoFirstHeartbeat:
		if e.Since == fleet.SinceOrder {
			return fmt.Sprintf("no heartbeat within %s of the order to monitor it", round(e.Elapsed))
		}
		text := fmt.Sprintf("no first heartbeat within %s of its start", round(e.Elapsed))
		if !fd.OfRunner {
			text += "; a program that sends none by itself needs heartbeats: runner"
		}
		return text
	case fleet.StoppingTimeout:
		return fmt.Sprintf("it said %s ago that it stops, for which it has %s, and has not ended", round(e.Stopping), e.MayStop)
	case fleet.Hung:
		if e.Rule == fleet.RuleWatchdog {
			return strings.TrimSuffix("its own watchdog ran out: "+fd.Detail, ": ")
		}
		return "it beats, but its work stands still past the time it gave itself"
	case fleet.ConnectionLost:
		return fmt.Sprintf("its connection was closed and did not come back; no heartbeat for %s", round(e.Elapsed))
	case fleet.HealthCheckFailed:
		return fmt.Sprintf("no heartbeat for %s, and nobody answers its pings any more", round(e.Elapsed))
	}
	if e.Since == fleet.SinceListening {
		return fmt.Sprintf("not heard since the detector started at %s (%s), at an interval of %s", now.Add(-e.Elapsed).UTC().Format(time.TimeOnly+"Z"), round(e.Elapsed), e.Interval)
	}
	switch e.Rule {
	case fleet.RuleType:
		return fmt.Sprintf("no heartbeat for %s at an interval of %s: longer than young agents of type %s are silent", round(e.Elapsed), e.Interval, fd.About.Type)
	case fleet.RuleMissedBeats:
		return fmt.Sprintf("no heartbeat for %s, %.1f intervals of %s", round(e.Elapsed), float64(e.Elapsed)/float64(e.Interval), e.Interval)
	}
	return fmt.Sprintf("no heartbeat for %s at an interval of %s: phi %.1f, threshold %.1f from %d samples", round(e.Elapsed), e.Interval, e.Phi, e.Threshold, e.Samples)
}

var processWords = map[fleet.Process]string{fleet.SameProcess: contracts.ProcessSame, fleet.NewProcess: contracts.ProcessNew}

func (w *Watcher) tellRecovered(fd fleet.Finding) {
	s, told := w.stories[fd.Agent]
	if !told || s.incarnation != fd.Incarnation {
		return // another detector has said it
	}
	w.env.Log.Info("agent recovered", "agent", fd.Agent, "incarnation", fd.Incarnation, "down", fd.For)
	data := contracts.AgentRecoveredData{
		Agent: fd.Agent, Incarnation: fd.Incarnation, Down: contracts.Duration(fd.For), Reason: s.reason, Rule: s.rule, Process: processWords[fd.Process],
	}
	w.metrics.mistakes.WithLabelValues(data.Rule).Inc()
	w.metrics.mistakeDuration.Observe(fd.For.Seconds())
	b := w.env.Event(contracts.AgentRecovered, fd.Agent).ID(w.nextWord("agent.recovered", fd)).
		Causation(s.id).Correlation(s.correlation).Data(data)
	if ev, ok := w.post(fd, b); ok {
		w.words[fd.Agent] = ev.ID
	}
	delete(w.stories, fd.Agent)
}

// post queues an event about an agent.
func (w *Watcher) post(fd fleet.Finding, b *contracts.EventBuilder) (contracts.Event, bool) {
	if fd.Kind == fleet.BandChanged && !w.outbox.room(fd.Agent) {
		w.metrics.skipped.Inc()
		return contracts.Event{}, false
	}
	ev, err := b.Build()
	if err != nil {
		w.env.Log.Error("event not valid", "agent", fd.Agent, "error", err)
		return ev, false
	}
	w.outbox.add(letter{event: ev, agent: fd.Agent, incarnation: fd.Incarnation})
	return ev, true
}

// needless tells whether a queued event has been overtaken: a silence or a
// band of an incarnation whose end is proven says nothing new.
func (w *Watcher) needless(l letter) bool {
	if l.event.Type != contracts.AgentFailed && l.event.Type != contracts.AgentStateChanged {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v, known := w.fleet.Agent(w.now(), l.agent)
	return known && l.agent != "" && (v.Incarnation > l.incarnation || v.Ended && v.Incarnation == l.incarnation)
}

// confess publishes what the detector found wrong with itself.
func (w *Watcher) confess(check, detail string, lasted time.Duration) {
	w.metrics.doubts.WithLabelValues(check).Inc()
	w.aboutItself(contracts.SystemHealthCheckFailed, check, detail, lasted)
}

// absolve publishes that a trouble of the detector's is over.
func (w *Watcher) absolve(check, detail string, lasted time.Duration) {
	w.aboutItself(contracts.SystemHealthCheckPassed, check, detail, lasted)
}

func (w *Watcher) aboutItself(t contracts.EventType, check, detail string, lasted time.Duration) {
	w.report(check+" "+t.Name(), w.env.Event(t, w.env.Service).Data(contracts.SystemHealthData{
		Service: w.env.Service, Check: check, Detail: detail, For: contracts.Duration(lasted),
	}))
}

// report queues an event about the detector, at most one of a kind in a while.
func (w *Watcher) report(kind string, b *contracts.EventBuilder) {
	if !w.outbox.due(kind) {
		return
	}
	ev, err := b.Build()
	if err != nil {
		w.env.Log.Error("event not valid", "kind", kind, "error", err)
		return
	}
	w.outbox.add(letter{event: ev})
}
