package watch

import (
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// applyPeer takes over what another detector of the same fleet has just said.
// A verdict of its own stands here too, so that whichever of the two hears the
// agent again takes it back.
func (w *Watcher) applyPeer(ev contracts.Event, age time.Duration) error {
	switch ev.Type {
	case contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver:
		return w.applyFinding(ev, true)
	case contracts.AgentFailed:
		d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
		if err != nil {
			return err
		}
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return w.adopt(f, now, ev, d, age) })
	case contracts.AgentRecovered:
		d, err := contracts.DecodeData[contracts.AgentRecoveredData](ev)
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		// This one need not say so again when it hears the agent itself.
		w.words[ev.Entity] = ev.ID
		if s, failed := w.stories[ev.Entity]; failed && s.incarnation == d.Incarnation && s.id == ev.CausationID {
			delete(w.stories, ev.Entity)
		}
	}
	return nil
}

// adopt makes another's verdict this one's.
func (w *Watcher) adopt(f *fleet.Fleet, now fleet.Instant, ev contracts.Event, d contracts.AgentFailedData, age time.Duration) []fleet.Finding {
	v, known := f.Agent(now, ev.Entity)
	if known && (v.Incarnation > d.Incarnation || v.Incarnation == d.Incarnation && v.Ended) {
		return nil
	}
	w.words[ev.Entity] = ev.ID
	if w.stories[ev.Entity].id == ev.ID {
		return nil // it came to the same
	}
	before, banded := w.bandBefore[ev.Entity]
	if !banded {
		before = v.Band
	}
	w.over(now, ev.Entity, d.Incarnation, w.crowd.Told)
	w.stories[ev.Entity] = storyOf(ev, d)
	if found := f.Verdict(now, ev.Entity, d.Incarnation, fleet.Reason(d.Reason), age); len(found) > 0 {
		return found
	}
	if after, _ := f.Agent(now, ev.Entity); known && after.Failed && before != fleet.Unhealthy {
		w.tell(now, fleet.Finding{
			Kind: fleet.BandChanged, Agent: ev.Entity, Incarnation: after.Incarnation, From: before, To: fleet.Unhealthy, Evidence: after.Evidence,
		})
	}
	return nil
}

// maxWords bounds the ids of last words that are remembered.
const maxWords = 200_000

// tidyWords forgets the last words on agents that nobody knows any more, if
// there are too many. Called with mu held.
func (w *Watcher) tidyWords() {
	if len(w.words) <= maxWords {
		return
	}
	now := w.now()
	for agent := range w.words {
		if _, known := w.fleet.Agent(now, agent); !known {
			delete(w.words, agent)
		}
	}
}
