package watch

import (
	"context"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

// What the core is told goes onto the tape, too. All of these are called with
// mu held, from within judge.

func (w *Watcher) record(now fleet.Instant, beats []fleet.Beat) {
	for i := range beats {
		b := &beats[i]
		w.tape.Add(tape.Entry{
			At: now, Kind: tape.Beat, Agent: b.Agent, Type: b.About.Type, Instance: b.Instance, Incarnation: b.Incarnation, Seq: b.Seq,
			Interval: b.About.Interval, Leaving: b.About.Status == fleet.Stopping || b.About.Status == fleet.Stopped,
		})
	}
}

func (w *Watcher) started(f *fleet.Fleet, now fleet.Instant, s fleet.Start) []fleet.Finding {
	w.tape.Add(tape.Entry{
		At: now, Kind: tape.Started, Agent: s.Agent, Type: s.About.Type, Incarnation: s.Incarnation, Interval: s.About.Interval, For: s.Deadline,
	})
	return f.Started(now, s)
}

func (w *Watcher) proven(f *fleet.Fleet, now fleet.Instant, agent string, incarnation uint64) []fleet.Finding {
	w.tape.Add(tape.Entry{At: now, Kind: tape.Ended, Agent: agent, Incarnation: incarnation})
	return f.Ended(now, agent, incarnation)
}

func (w *Watcher) suspend(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
	w.tape.Add(tape.Entry{At: now, Kind: tape.Suspended})
	return f.Suspend(now)
}

func (w *Watcher) resume(f *fleet.Fleet, now fleet.Instant, grace time.Duration) []fleet.Finding {
	w.tape.Add(tape.Entry{At: now, Kind: tape.Resumed, For: grace})
	return f.Resume(now, grace)
}

func (w *Watcher) goOn(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
	w.tape.Add(tape.Entry{At: now, Kind: tape.Continued})
	return f.Continue(now)
}

// recordStall notes that the core found itself to have stood still.
func (w *Watcher) recordStall(now fleet.Instant) {
	if s := w.fleet.Stats().Stalled; s != w.stalled {
		w.tape.Add(tape.Entry{At: now, Kind: tape.Stalled, For: s - w.stalled})
		w.stalled = s
	}
}

var recordedKinds = map[tape.Kind]contracts.RecordedKind{
	tape.Beat: contracts.RecordedBeat, tape.Started: contracts.RecordedStarted, tape.Ended: contracts.RecordedEnded,
	tape.Suspended: contracts.RecordedSuspended, tape.Resumed: contracts.RecordedResumed, tape.Stalled: contracts.RecordedStalled,
	tape.Continued: contracts.RecordedContinued,
}

const (
	defaultRecording, maxRecording = 1000, 2000
	// recordedBytes is about what an entry takes beside its names.
	recordedBytes = 200
	maxRecent     = 1000
	// maxLevel bounds the levels that an explanation tells of.
	maxLevel = 12
)

func (w *Watcher) recording(_ context.Context, r contracts.RecordingRequest) (contracts.RecordingReply, error) {
	if r.Limit < 0 || r.Limit > maxRecording {
		return contracts.RecordingReply{}, shell.Errorf(contracts.CodeBadRequest, "limit: %d is outside 1 to %d", r.Limit, maxRecording)
	}
	if len(r.Agents) > contracts.MaxRecordedAgents {
		return contracts.RecordingReply{}, shell.Errorf(contracts.CodeBadRequest, "agents: %d; at most %d, or none for all", len(r.Agents), contracts.MaxRecordedAgents)
	}
	for _, a := range r.Agents {
		if err := checkAgent(a); err != nil {
			return contracts.RecordingReply{}, err
		}
	}
	limit := r.Limit
	if limit == 0 {
		limit = defaultRecording
	}
	w.mu.Lock()
	page := w.tape.Read(r.After, r.Agents, limit)
	w.mu.Unlock()
	more := len(page.Entries) == limit
	reply := contracts.RecordingReply{
		Detector: w.session, Settings: w.settings(r.Agents...), Entries: []contracts.RecordedEntry{}, Next: page.Next, More: more, Lost: page.Lost,
	}
	size := 0
	for i, e := range page.Entries {
		if size > pageBytes {
			reply.Next, reply.More = page.Numbers[i-1], true
			break
		}
		// An instance may take six times its length, escaped.
		size += recordedBytes + len(e.Agent) + len(e.Type) + 6*len(e.Instance)
		reply.Entries = append(reply.Entries, contracts.RecordedEntry{
			At: contracts.Duration(e.At), Kind: recordedKinds[e.Kind], Agent: e.Agent, Type: e.Type, Incarnation: e.Incarnation, Instance: e.Instance,
			Seq: e.Seq, Interval: contracts.Duration(e.Interval), Leaving: e.Leaving, For: contracts.Duration(e.For),
		})
	}
	return reply, nil
}

// settings are the rules, with those of single agents that are asked for; of
// all, at most as many as one may ask for.
func (w *Watcher) settings(agents ...string) contracts.DetectionSettings {
	s := w.cfg.Settings
	own := s.Agents
	s.Agents = nil
	for name, rules := range own {
		wanted := len(agents) == 0 && len(s.Agents) < contracts.MaxRecordedAgents
		for _, a := range agents {
			wanted = wanted || a == name
		}
		if wanted {
			if s.Agents == nil {
				s.Agents = map[string]contracts.AgentThresholds{}
			}
			s.Agents[name] = rules
		}
	}
	return s
}

func (w *Watcher) explain(_ context.Context, r contracts.AgentRequest) (contracts.ExplainReply, error) {
	v, err := w.view(r.Agent)
	if err != nil {
		return contracts.ExplainReply{}, err
	}
	reply := contracts.ExplainReply{View: agentView(v, time.Now()), Settings: w.settings(r.Agent)}
	levels := make([]float64, maxLevel)
	for i := range levels {
		levels[i] = float64(i + 1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, after := range w.fleet.Levels(r.Agent, levels) {
		reply.Levels = append(reply.Levels, contracts.SuspicionLevel{Phi: levels[i], After: contracts.Duration(after)})
	}
	for _, gap := range w.tape.Gaps(r.Agent, maxRecent) {
		reply.Recent = append(reply.Recent, contracts.Duration(gap))
	}
	return reply, nil
}
