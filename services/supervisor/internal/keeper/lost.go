package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// silence is what the keeper knows of runners that say nothing.
type silence struct {
	// signs are the last heartbeats of what runs on them.
	signs map[string]time.Time
	// told are the incarnations reported as lost since the connection was made.
	told map[string]uint64
	attention
}

// lookForLost gives up what ran on runners whose hosts are gone. That takes
// three things together: no announcement for long enough, during which this
// supervisor was able to hear; in that time not one heartbeat of the runner or of
// anything that it has; and the detector's word, about the runner itself, about
// all that it ran, or that all these fell silent together. A runner that is only
// restarting leaves agents that beat.
func (k *Keeper) lookForLost(ctx context.Context, now time.Time) {
	if k.opt.LostAfter <= 0 {
		return
	}
	if k.silence.lapsed(k.env.NC, now) { // silence counts from now on
		k.registry.Distrust(now)
		clear(k.silence.signs)
	}
	for _, r := range k.tree.Used() {
		k.registry.Expect(r, now)
	}
	quiet := k.registry.Silent(now, contracts.RunnerTimeout)
	on := k.tree.Occupants(func(r string) bool { _, ok := quiet[r]; return ok })
	copies := map[string][]string{}
	for r := range quiet {
		if lingering := k.leader.Lingering(r); len(lingering) > 0 {
			copies[r] = lingering
		}
	}
	k.listen(on, copies)
	for r, heard := range k.registry.Silent(now, k.opt.LostAfter) {
		agents := on[r]
		if k.alive(now, r) || k.alive(now, agents...) || k.alive(now, copies[r]...) {
			continue // the host is up; its runner may come back
		}
		k.leader.Gone(r)
		gone := k.lostWith(ctx, r, heard, agents)
		if len(gone) == 0 {
			continue
		}
		k.lose(r, fmt.Sprintf("runner %s is silent for more than %s and taken for gone with its host", r, k.opt.LostAfter), gone)
	}
}

// lostWith returns the agents of a silent runner that are lost by the detector's
// word. The verdicts on those that fell silent together, and on those whose
// heartbeats come from the runner, are only held.
func (k *Keeper) lostWith(ctx context.Context, runner string, heard time.Time, agents []string) []string {
	if k.silentTogether(ctx, runner, heard) {
		return agents
	}
	var spoken []string
	failed := k.condemned(ctx, runner, heard)
	if failed || k.departed(ctx, runner, heard) {
		spoken = k.spokenFor(agents)
	}
	if !failed && !k.condemnedAll(agents) {
		return spoken
	}
	return slices.Compact(slices.Sorted(slices.Values(append(spoken, k.gone(agents)...))))
}

// listen hears the heartbeats of silent runners and of all that they have.
func (k *Keeper) listen(onRunners ...map[string][]string) {
	wanted := map[string]bool{}
	for _, on := range onRunners {
		for r, agents := range on {
			wanted[r] = true
			for _, a := range agents {
				wanted[a] = true
			}
		}
	}
	for id := range k.vital.subs {
		if !wanted[id] {
			k.vital.unwatch(id)
			delete(k.silence.signs, id)
		}
	}
	for id := range wanted {
		k.vital.watch(id)
	}
}

// heardLife notes a sign of life.
func (k *Keeper) heardLife(m *nats.Msg) {
	agent, err := contracts.ParseHeartbeatSubject(m.Subject)
	if err != nil || k.vital.subs[agent] == nil {
		return
	}
	k.silence.signs[agent] = time.Now()
}

// alive reports whether any of them beat in the time that counts.
func (k *Keeper) alive(now time.Time, ids ...string) bool {
	return slices.ContainsFunc(ids, func(id string) bool {
		at, ok := k.silence.signs[id]
		return ok && now.Sub(at) < k.opt.LostAfter
	})
}

// gone picks the agents that nothing speaks for: their start or stop was never
// confirmed. Whom the detector declares failed is being stopped; whoever it has
// not is in good standing.
func (k *Keeper) gone(agents []string) []string {
	return slices.DeleteFunc(slices.Clone(agents), func(id string) bool {
		_, st, _ := k.tree.Lookup(id)
		return st.Phase != tree.Starting && st.Phase != tree.Stopping
	})
}

// spokenFor picks the agents whose heartbeats come from their runner.
func (k *Keeper) spokenFor(agents []string) []string {
	return slices.DeleteFunc(slices.Clone(agents), func(id string) bool {
		spec, _, ok := k.tree.Lookup(id)
		return !ok || spec.Agent == nil || reference.Command(spec.Agent.Start).Heartbeats != contracts.HeartbeatsByRunner
	})
}

// condemnedAll reports whether verdicts were given on all agents of a runner that
// ran.
func (k *Keeper) condemnedAll(agents []string) bool {
	verdicts := 0
	for _, id := range agents {
		_, st, _ := k.tree.Lookup(id)
		switch {
		case st.Phase == tree.Starting:
		case st.Phase == tree.Stopping && st.Kill:
			verdicts++
		default:
			return false
		}
	}
	return verdicts > 0
}

// skew is how far the clocks of the detector and the supervisor may differ.
const skew = 10 * time.Second

// condemned reports whether the detector's last word on a runner is that it
// failed, and is not older than the runner's own last word.
func (k *Keeper) condemned(ctx context.Context, runner string, heard time.Time) bool {
	_, stands := k.lastWord(ctx, runner, heard, contracts.AgentFailed, contracts.AgentRecovered)
	return stands
}

// departed reports whether the detector's last word on a runner is that it said that it
// stops, and is not older than the runner's own last word.
func (k *Keeper) departed(ctx context.Context, runner string, heard time.Time) bool {
	m, stands := k.lastWord(ctx, runner, heard, contracts.AgentStateChanged)
	if !stands {
		return false
	}
	_, d, err := contracts.DecodeEventAs[contracts.AgentStateChangedData](m.Subject, m.Data)
	return err == nil && d.To == contracts.HealthUnknown
}

// silentTogether reports whether the detector found that the agents of a runner
// fell silent together, and has not heard one of them again since.
func (k *Keeper) silentTogether(ctx context.Context, runner string, heard time.Time) bool {
	finding, began := k.lastFinding(ctx, runner, heard, contracts.SystemCorrelatedSilence)
	if finding == nil {
		return false
	}
	over, ended := k.lastFinding(ctx, runner, heard, contracts.SystemCorrelatedSilenceOver)
	return over == nil || ended < began || over.Back == 0 && !over.Merged
}

// lastFinding returns the last finding of a type about a runner, and its place in the
// log; nil if there is none, or it is about a type of the same name.
func (k *Keeper) lastFinding(ctx context.Context, runner string, heard time.Time, t contracts.EventType) (*contracts.CorrelatedSilenceData, uint64) {
	m, stands := k.lastWord(ctx, runner, heard, t)
	if !stands {
		return nil, 0
	}
	_, d, err := contracts.DecodeEventAs[contracts.CorrelatedSilenceData](m.Subject, m.Data)
	if err != nil || d.Kind != contracts.GroupRunner || d.Name != runner {
		return nil, 0
	}
	return &d, m.Sequence
}

// lastWord returns the last event of a type about an entity, if it is not older
// than the runner's own last word and none of the types that take it back came
// after it.
func (k *Keeper) lastWord(ctx context.Context, entity string, heard time.Time, t contracts.EventType, takenBack ...contracts.EventType) (*jetstream.RawStreamMsg, bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := k.env.JS.Stream(ctx, contracts.EventStream)
	if err != nil {
		return nil, false
	}
	word, err := stream.GetLastMsgForSubject(ctx, contracts.EventSubject(t, entity))
	if err != nil || word.Time.Before(heard.Add(-skew)) {
		return nil, false
	}
	for _, t := range takenBack {
		back, err := stream.GetLastMsgForSubject(ctx, contracts.EventSubject(t, entity))
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && back.Sequence > word.Sequence {
			return nil, false
		}
	}
	return word, true
}

// lose reports agents as lost with their runner's host. They come back from the
// log, to be decided upon.
func (k *Keeper) lose(runner, why string, agents []string) {
	var cmds []fleet.Command
	for _, id := range agents {
		spec, st, ok := k.tree.Lookup(id)
		if !ok || spec.Agent == nil || k.silence.told[id] == st.Incarnation {
			continue
		}
		k.silence.told[id] = st.Incarnation
		k.leader.Lose(leader.Fence{Agent: id, Incarnation: st.Incarnation})
		cmds = append(cmds, fleet.Command{Order: leader.Order{Spec: spec, Decision: st.Decision, Effect: tree.Effect{
			Kind: tree.DoReport, Node: id, Incarnation: st.Incarnation, Runner: runner, Reason: why, Chain: story(st),
		}}})
	}
	if len(cmds) == 0 {
		return
	}
	if k.registry.Lose(runner) {
		k.opt.Metrics.runnersLost.WithLabelValues(k.opt.Tree).Inc()
	}
	k.env.Log.Warn("runner lost", "tree", k.opt.Tree, "runner", runner, "agents", len(cmds), "reason", why)
	k.commands.ReportLost(cmds)
}

// story is the one that a loss goes on with: that of the verdict before it.
func story(st tree.State) string {
	if st.Phase == tree.Stopping && st.Kill {
		return st.Chain
	}
	return ""
}
