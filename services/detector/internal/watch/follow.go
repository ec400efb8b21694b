package watch

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// followed are the events that say who is expected to beat, and who is not.
func followed() []string {
	var subjects []string
	for _, t := range []contracts.EventType{
		contracts.AgentCreated, contracts.AgentStarted, contracts.AgentStopped,
		contracts.AgentFailed, contracts.AgentRecovered, contracts.AgentStateChanged,
		contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver,
	} {
		subjects = append(subjects, contracts.EventTypeWildcard(t))
	}
	return subjects
}

// followPatience is how long the server may take to find the last events of all
// agents: some seconds for a million.
const followPatience = 2 * time.Minute

// follow reads the event stream: first the last event of each kind about each
// agent, which tells what an earlier detector knew, then all that follows.
// known is closed when the first part is done.
func (w *Watcher) follow(ctx context.Context) (known <-chan struct{}, stop func(), err error) {
	if _, err := shell.WaitStream(ctx, w.env, contracts.EventStream, contracts.ServiceEventStore); err != nil {
		return nil, nil, err
	}
	begin, cancel := context.WithTimeout(ctx, followPatience)
	defer cancel()
	cons, err := w.env.JS.OrderedConsumer(begin, contracts.EventStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: followed(), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("follow %s: %w", contracts.EventStream, err)
	}
	info, err := cons.Info(begin)
	if err != nil {
		return nil, nil, fmt.Errorf("follow %s: %w", contracts.EventStream, err)
	}
	since := serverTime{info.TimeStamp, time.Now()}
	done := make(chan struct{})
	var once sync.Once
	finish := func() { once.Do(func() { close(done) }) }
	if info.NumPending+info.Delivered.Consumer == 0 {
		finish()
	}
	live := false
	reading, err := cons.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			return
		}
		w.learn(m, meta, live, since.age(meta.Timestamp, live))
		if meta.NumPending == 0 {
			finish()
		}
		select {
		case <-done:
			live = true
		default:
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		w.env.Log.Debug("following events", "error", err)
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("follow %s: %w", contracts.EventStream, err)
	}
	return done, func() { reading.Stop(); <-reading.Closed() }, nil
}

// serverTime is the server's time of day at an instant of this process. Events
// are as old as the server's clock says, which dated them too: what the clocks
// of this host and of those who published say may differ from it and jump.
type serverTime struct{ wall, at time.Time }

// age is that of an event stored at that time. Those that have just come are new.
func (s serverTime) age(stored time.Time, live bool) time.Duration {
	if live || s.wall.IsZero() {
		return 0
	}
	return max(s.wall.Sub(stored)+time.Since(s.at), 0)
}

// learn takes over what an event says.
func (w *Watcher) learn(m jetstream.Msg, meta *jetstream.MsgMetadata, live bool, age time.Duration) {
	ev, err := contracts.DecodeEvent(m.Subject(), m.Data())
	if err == nil {
		err = w.apply(ev, live, age)
	}
	if err != nil {
		w.rejects.reject(shell.Message{Kind: "event", Subject: m.Subject(), Sequence: meta.Sequence.Stream, Body: m.Data()}, err)
	}
}

// apply is what an event changes. What detectors say counts in full only when
// catching up. Afterwards this one knows its own words already, and of another's
// takes over the verdicts.
func (w *Watcher) apply(ev contracts.Event, live bool, age time.Duration) error {
	own := strings.HasPrefix(ev.Source, contracts.ServiceDetector+"/")
	if live && ev.Source == w.env.Source() {
		return nil
	}
	if own && live {
		return w.applyPeer(ev, age)
	}
	agent := ev.Entity
	switch ev.Type {
	case contracts.SystemCorrelatedSilence, contracts.SystemCorrelatedSilenceOver:
		return w.applyFinding(ev, false)
	case contracts.AgentStarted:
		d, err := contracts.DecodeData[contracts.AgentStartedData](ev)
		if err != nil {
			return err
		}
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
			w.closeStory(agent, d.Incarnation)
			if d.Incarnation > 0 {
				w.over(now, agent, d.Incarnation-1, w.crowd.Gone)
			}
			return w.started(f, now, fleet.Start{
				Agent: agent, Incarnation: d.Incarnation, Deadline: d.StartDeadline.D(), Age: age,
				Shutdown: d.ShutdownTimeout.D(), Spoken: d.Heartbeats == contracts.HeartbeatsByRunner,
				About: fleet.About{Type: d.Type, Runner: d.Runner, Capabilities: d.Capabilities, Capacity: d.Capacity, Interval: interval(d.Interval)},
			})
		})
	case contracts.AgentStopped:
		d, err := contracts.DecodeData[contracts.AgentStoppedData](ev)
		if err != nil {
			return err
		}
		w.ended(agent, d.Incarnation)
	case contracts.AgentFailed:
		d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
		if err != nil {
			return err
		}
		if !own {
			w.endedUnasked(agent, d.Incarnation, live)
			if live && d.Exit != nil {
				w.metrics.detection.WithLabelValues(evidenceExit).Observe(max(time.Since(d.Exit.At), 0).Seconds())
			}
			return nil
		}
		w.restoreVerdict(ev, d, age)
	default:
		return w.restore(ev, age, own)
	}
	return nil
}

// ended takes note of a proven end.
func (w *Watcher) ended(agent string, incarnation uint64) {
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		w.closeStory(agent, incarnation)
		w.over(now, agent, incarnation, w.crowd.Gone)
		return w.proven(f, now, agent, incarnation)
	})
}

// endedUnasked takes note of a proven end that nobody had ordered.
func (w *Watcher) endedUnasked(agent string, incarnation uint64, live bool) {
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		v, known := f.Agent(now, agent)
		w.closeStory(agent, incarnation)
		found := f.Ended(now, agent, incarnation)
		if live && known && v.Incarnation == incarnation && !v.Ended && v.Band != fleet.Unknown {
			w.dismiss(agent)
			delete(w.bandBefore, agent)
			withdrawn, effects := w.crowd.Ended(f.Trusted(now), correlation.Member{
				Agent: agent, Incarnation: incarnation, Runner: v.About.Runner, Type: v.About.Type, Interval: v.Evidence.Interval,
			})
			if withdrawn {
				w.metrics.withdrawn.Inc()
			}
			w.perform(now, effects, nil)
		}
		w.over(now, agent, incarnation, w.crowd.Gone)
		return found
	})
}

// closeStory forgets the failure of an incarnation that is over. Called with
// mu held.
func (w *Watcher) closeStory(agent string, incarnation uint64) {
	if s, ok := w.stories[agent]; ok && s.incarnation <= incarnation {
		delete(w.stories, agent)
	}
}

// restoreVerdict takes over a detector's verdict, unless it is so old that
// nobody need remember.
func (w *Watcher) restoreVerdict(ev contracts.Event, d contracts.AgentFailedData, age time.Duration) {
	if keep := w.cfg.Rules.ForgetAfter; keep > 0 && age > keep || keep == 0 && age > time.Hour {
		w.ended(ev.Entity, d.Incarnation)
		return
	}
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
		w.stories[ev.Entity] = storyOf(ev, d)
		w.words[ev.Entity] = ev.ID
		return f.Verdict(now, ev.Entity, d.Incarnation, fleet.Reason(d.Reason), age)
	})
}

// restore takes over what else detectors had found.
func (w *Watcher) restore(ev contracts.Event, age time.Duration, own bool) error {
	if !own {
		return nil
	}
	discovered := fleet.Start{Agent: ev.Entity, Age: age, Discovered: true}
	switch ev.Type {
	case contracts.AgentCreated:
		d, err := contracts.DecodeData[contracts.AgentCreatedData](ev)
		if err != nil {
			return err
		}
		discovered.Incarnation, discovered.Again = d.Incarnation, d.Instance != ""
		discovered.About = fleet.About{Type: d.Type, Capabilities: d.Capabilities, Capacity: d.Capacity, Interval: interval(d.Interval)}
	case contracts.AgentRecovered:
		d, err := contracts.DecodeData[contracts.AgentRecoveredData](ev)
		if err != nil {
			return err
		}
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
			delete(w.stories, ev.Entity)
			w.words[ev.Entity] = ev.ID
			return f.Returned(now, ev.Entity, d.Incarnation)
		})
		return nil
	default:
		d, err := contracts.DecodeData[contracts.AgentStateChangedData](ev)
		if err != nil {
			return err
		}
		if d.To == contracts.HealthUnknown {
			w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
				return f.Left(now, ev.Entity, d.Incarnation, age)
			})
			return nil
		}
		if d.To == contracts.HealthUnhealthy {
			return nil // its verdict says so
		}
		discovered.Incarnation = d.Incarnation
	}
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return f.Started(now, discovered) })
	return nil
}

// interval is a declared interval, or 0 when it is beyond belief.
func interval(d contracts.Duration) time.Duration {
	if d.D() < contracts.MinHeartbeatInterval || d.D() > contracts.MaxHeartbeatInterval {
		return 0
	}
	return d.D()
}
