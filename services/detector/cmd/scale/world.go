package main

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

type options struct {
	Agents, Rounds, Killed int
	Interval               time.Duration
	UUIDs                  bool
}

// tick is how often the detector's timers run.
const tick = 20 * time.Millisecond

// world lets agents beat in virtual time.
type world struct {
	options
	f *fleet.Fleet
	// names are those of all agents, one after the other, each width bytes
	// long, in the order in which they beat.
	names string
	width int
	// next counts heartbeats, ticked is the virtual time of the next tick.
	next   int
	ticked time.Duration
	// waiting heartbeats go to the core when there are batch of them.
	batch        int
	waiting      []fleet.Beat
	dead         map[string]bool
	found, wrong int
}

func newWorld(o options) (*world, error) {
	f, err := fleet.New(fleet.Config{Tick: tick})
	if err != nil {
		return nil, err
	}
	w := &world{options: o, f: f, ticked: 1, batch: 32}
	dice := rand.New(rand.NewPCG(1, 2))
	var names []byte
	for _, i := range dice.Perm(o.Agents) {
		if o.UUIDs {
			a, b := dice.Uint64(), dice.Uint64()
			names = fmt.Appendf(names, "%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48, b&(1<<48-1))
		} else {
			names = fmt.Appendf(names, "worker-%07d", i)
		}
	}
	w.names, w.width = string(names), len(names)/o.Agents
	for i := range o.Agents {
		w.f.Started(w.ticked, fleet.Start{
			Agent: w.name(i), Incarnation: 1, Deadline: time.Hour,
			About: fleet.About{Type: "worker", Runner: fmt.Sprint("host-", i%1000), Interval: o.Interval},
		})
	}
	return w, nil
}

// name is that of the agent at a place of the order.
func (w *world) name(i int) string { return w.names[i*w.width : (i+1)*w.width] }

// at is whose heartbeat the k-th is, its number and when it comes. From round
// to round agents within 3 % of the order change places, so that gaps vary.
func (w *world) at(k int) (name string, seq uint64, now time.Duration) {
	block := 1 << max(bits.Len(uint(w.Agents*3/100))-1, 0)
	round, i := k/w.Agents, k%w.Agents
	swap := int(uint32(round)*2654435761>>8) & (block - 1)
	if i|(block-1) < w.Agents {
		i ^= swap
	}
	step := w.Interval / time.Duration(w.Agents)
	return w.name(i), uint64(round + 1), time.Duration(k)*step + 1
}

// beat takes the next heartbeat to the core, at once or with those after it,
// and all ticks before it.
func (w *world) beat() {
	name, seq, now := w.at(w.next)
	w.next++
	if w.ticked <= now {
		w.flush(now)
	}
	for ; w.ticked <= now; w.ticked += tick {
		w.take(w.f.Tick(w.ticked))
	}
	if w.dead[name] {
		return
	}
	w.waiting = append(w.waiting, fleet.Beat{
		Agent: name, Incarnation: 1, Seq: seq, Progress: seq,
		About: fleet.About{Type: "worker", Status: "running", Capacity: 4, Interval: w.Interval},
	})
	if len(w.waiting) >= w.batch {
		w.flush(now)
	}
}

func (w *world) flush(now time.Duration) {
	w.take(w.f.Beats(min(now, w.ticked), w.waiting))
	w.waiting = w.waiting[:0]
}

func (w *world) take(found []fleet.Finding) {
	for _, fd := range found {
		if fd.Kind != fleet.Failed {
			continue
		}
		if w.dead[fd.Agent] {
			w.found++
		} else {
			w.wrong++
		}
	}
}

// kill silences agents for five intervals and tells how many of how many were
// found, and how many others were taken for dead since the beginning.
func (w *world) kill() (found, killed, wrong int) {
	w.dead = map[string]bool{}
	for i := range min(w.Killed, w.Agents) {
		w.dead[w.name(i)] = true
	}
	for range 5 * w.Agents {
		w.beat()
	}
	return w.found, len(w.dead), w.wrong
}
