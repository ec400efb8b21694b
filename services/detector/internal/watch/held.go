package watch

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// weigh decides whether a finding is told at once: a verdict on silence may be
// held when many are silent at the same time. Called with mu held.
func (w *Watcher) weigh(now fleet.Instant, fd fleet.Finding) {
	switch fd.Kind {
	case fleet.Failed:
		if doubtful(fd.Reason) {
			w.await(now, fd)
			return
		}
		w.withdraw(now, fd.Agent, w.crowd.Gone)
	case fleet.Created:
		// Perhaps another process in place of one that fell silent.
		w.withdraw(now, fd.Agent, w.crowd.Back)
		delete(w.bandBefore, fd.Agent)
	case fleet.Recovered:
		if w.withdraw(now, fd.Agent, w.crowd.Back) {
			w.env.Log.Debug("verdict withdrawn before it was told", "agent", fd.Agent, "incarnation", fd.Incarnation)
			return
		}
	case fleet.BandChanged:
		if w.bandHeld(now, &fd) {
			return
		}
	}
	w.tell(now, fd)
}

// bandHeld follows a change of band. It tells whether nothing is to be told: the
// band of an agent whose verdict is held is told with the verdict, or never.
func (w *Watcher) bandHeld(now fleet.Instant, fd *fleet.Finding) bool {
	trusted := w.fleet.Trusted(now)
	switch fd.To {
	case fleet.Degraded:
		w.perform(now, w.crowd.Suspect(trusted, member(*fd)), nil)
	case fleet.Healthy:
		w.withdraw(now, fd.Agent, w.crowd.Back)
	case fleet.Unknown:
		w.withdraw(now, fd.Agent, w.crowd.Gone)
	case fleet.Unhealthy:
		if _, waits := w.awaited[fd.Agent]; waits || w.crowd.Held(fd.Agent) {
			w.bandBefore[fd.Agent] = fd.From
			return true
		}
	}
	if before, held := w.bandBefore[fd.Agent]; held && fd.From == fleet.Unhealthy {
		delete(w.bandBefore, fd.Agent)
		fd.From = before
	}
	return fd.From == fd.To
}

// absolved withdraws a verdict that is held, if one is.
func (w *Watcher) absolved(now fleet.Instant, agent string, by func(correlation.Instant, string) (bool, []correlation.Effect)) bool {
	held, effects := by(w.fleet.Trusted(now), agent)
	if held {
		w.metrics.withdrawn.Inc()
	}
	w.perform(now, effects, nil)
	return held
}

// over takes note that an incarnation of an agent ended or was told of by
// another detector, so that nothing is to be said of its silence.
func (w *Watcher) over(now fleet.Instant, agent string, incarnation uint64, by func(correlation.Instant, string) (bool, []correlation.Effect)) {
	if v, known := w.fleet.Agent(now, agent); known && v.Incarnation <= incarnation {
		w.withdraw(now, agent, by)
		delete(w.bandBefore, agent)
	}
}

func member(fd fleet.Finding) correlation.Member {
	return correlation.Member{
		Agent: fd.Agent, Incarnation: fd.Incarnation, Runner: fd.About.Runner, Type: fd.About.Type, Interval: fd.Evidence.Interval,
	}
}

// census tells how many agents are heard in a group. Called with mu held.
func (w *Watcher) census(g correlation.Group) int {
	switch g.Kind {
	case correlation.Runner:
		return w.fleet.OnRunner(g.Name)
	case correlation.Type:
		return w.fleet.OfType(g.Name)
	}
	return w.fleet.Heard()
}

// perform does what follows from silences. fresh is the verdict just given.
func (w *Watcher) perform(now fleet.Instant, effects []correlation.Effect, fresh *fleet.Finding) {
	for _, e := range effects {
		switch e.What {
		case correlation.Release:
			if fresh != nil && fresh.Agent == e.Member.Agent && e.Held == 0 {
				w.tellFailed(*fresh, 0, "")
				continue
			}
			w.release(now, e)
		case correlation.Found:
			w.tellFound(e.Finding)
		case correlation.Over:
			w.tellOver(now, e.Finding)
		}
	}
}

// release tells a verdict that was held, with the evidence as it is now.
func (w *Watcher) release(now fleet.Instant, e correlation.Effect) {
	agent := e.Member.Agent
	before, banded := w.bandBefore[agent]
	delete(w.bandBefore, agent)
	v, known := w.fleet.Agent(now, agent)
	if !known || !v.Failed || v.Incarnation != e.Member.Incarnation {
		return
	}
	cause := ""
	if e.Finding != nil {
		cause = w.findings[e.Finding].id
	}
	fd := fleet.Finding{Kind: fleet.Failed, Agent: agent, Incarnation: v.Incarnation, About: v.About, Reason: v.Reason, Evidence: v.Evidence}
	if fd.Reason == fleet.ConnectionLost {
		fd.Evidence.Rule = fleet.RuleConnection
	}
	w.tellFailed(fd, e.Held, cause)
	if banded {
		fd.Kind, fd.From, fd.To = fleet.BandChanged, before, fleet.Unhealthy
		w.tell(now, fd)
	}
}

// told is a finding as it was published.
type told struct {
	id    string
	begun time.Time
}

// entity is the last token of the subject of events about a group.
func entity(g correlation.Group) string {
	if g.Kind == correlation.Fleet {
		return contracts.GroupFleet
	}
	return g.Name
}

// tellFound publishes that many are silent together. Detectors that find the
// same give it the same id.
func (w *Watcher) tellFound(f *correlation.Finding) {
	g := f.Group
	id := w.groups[g].open
	if id == "" {
		id = contracts.DerivedID("correlated_silence", string(g.Kind), g.Name, w.groups[g].last)
	}
	w.groups[g] = groupWord{open: id, last: id}
	w.findings[f] = told{id, time.Now()}
	hold, rate := w.crowd.Terms()
	detail := fmt.Sprintf("%d of %d agents of %s fell silent together: verdicts are held for %s, then released at %.0f/s", f.Silent, f.Size, groupName(g), hold, rate)
	w.env.Log.Warn("correlated silence", "group", string(g.Kind), "name", g.Name, "silent", f.Silent, "of", f.Size)
	w.metrics.findings.WithLabelValues(string(g.Kind)).Inc()
	w.postSystem(w.env.Event(contracts.SystemCorrelatedSilence, entity(g)).ID(id).Data(contracts.CorrelatedSilenceData{
		Kind: string(g.Kind), Name: g.Name, Size: f.Size, Silent: f.Silent, Agents: f.Members,
		Hold: contracts.Duration(hold), ReleaseRate: rate, Detail: detail,
	}))
}

func groupName(g correlation.Group) string {
	if g.Kind == correlation.Fleet {
		return "the fleet"
	}
	return string(g.Kind) + " " + g.Name
}

// tellOver publishes what became of it.
func (w *Watcher) tellOver(now fleet.Instant, f *correlation.Finding) {
	g, was := f.Group, w.findings[f]
	delete(w.findings, f)
	id := contracts.DerivedID("correlated_silence_over", was.id)
	if w.groups[g].open == was.id {
		w.groups[g] = groupWord{last: id}
	}
	lasted := w.fleet.Trusted(now) - f.Begun
	detail := fmt.Sprintf("%d are heard again, %d ended by proof, %d verdicts were released", f.Back, f.Proven, f.Released)
	if f.Merged {
		detail = "it is part of a wider one"
	}
	w.env.Log.Info("correlated silence over", "group", string(g.Kind), "name", g.Name, "back", f.Back, "proven", f.Proven, "released", f.Released, "merged", f.Merged)
	w.postSystem(w.env.Event(contracts.SystemCorrelatedSilenceOver, entity(g)).ID(id).Causation(was.id).Correlation(was.id).Data(contracts.CorrelatedSilenceData{
		Kind: string(g.Kind), Name: g.Name, Size: f.Size, Silent: f.Silent, For: contracts.Duration(lasted),
		Back: f.Back, Proven: f.Proven, Released: f.Released, Merged: f.Merged, Detail: detail,
	}))
}

// postSystem queues an event that is about no single agent.
func (w *Watcher) postSystem(b *contracts.EventBuilder) {
	ev, err := b.Build()
	if err != nil {
		w.env.Log.Error("event not valid", "error", err)
		return
	}
	w.outbox.add(letter{event: ev})
}

// groupWord is what the log says of a group's silence: the finding that is
// open, if any, and the last word on it.
type groupWord struct{ open, last string }

// applyFinding takes over what another detector, or an earlier one, found.
func (w *Watcher) applyFinding(ev contracts.Event, live bool) error {
	d, err := contracts.DecodeData[contracts.CorrelatedSilenceData](ev)
	if err != nil {
		return err
	}
	g := correlation.Group{Kind: correlation.Kind(d.Kind), Name: d.Name}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.groups) >= maxGroups {
		clear(w.groups)
	}
	word := groupWord{last: ev.ID}
	if ev.Type == contracts.SystemCorrelatedSilence && live {
		word.open = ev.ID
	}
	w.groups[g] = word
	return nil
}

// maxGroups bounds the groups of which the last word is remembered.
const maxGroups = 100_000
