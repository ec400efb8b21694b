package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// beatUntil beats at once, then every interval, when the status changes, and
// as soon as a lost connection is back. A stuck agent says that it is, in case
// one is lost in lastBeats heartbeats, and then nothing.
func (a *Agent) beatUntil(ended <-chan struct{}) {
	back := a.link.beat.StatusChanged(nats.CONNECTED)
	defer a.link.beat.RemoveStatusListener(back)
	ticker := time.NewTicker(a.o.HeartbeatInterval)
	defer ticker.Stop()
	for stuck := 0; ; {
		if stuck++; !a.silenced() {
			stuck = 0
		}
		if stuck <= lastBeats {
			a.beat()
		}
		select {
		case <-ticker.C:
		case <-a.kick:
		case <-back:
			stuck = 0
		case <-ended:
			return
		}
	}
}

// lastBeats is how often a stuck agent says that it is.
const lastBeats = 3

// beat sends one heartbeat. While the connection is down it is dropped: a
// late beat would lie.
func (a *Agent) beat() {
	body, err := json.Marshal(a.heartbeat())
	if err == nil {
		err = a.link.beat.Publish(contracts.HeartbeatSubject(a.o.Agent), body)
	}
	if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) && !errors.Is(err, nats.ErrConnectionReconnecting) {
		a.log.Warn("heartbeat not sent", "error", err)
	}
}

// silenced reports whether the watchdog has stopped the heartbeats.
func (a *Agent) silenced() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.statusLocked() == contracts.StatusStuck
}

func (a *Agent) heartbeat() contracts.Heartbeat {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq++
	h := contracts.Heartbeat{
		Incarnation: a.o.Incarnation, Seq: a.seq,
		Interval: contracts.Duration(a.o.HeartbeatInterval),
		Type:     a.o.Type, Capabilities: a.o.Capabilities,
		Status: a.statusLocked(), InFlight: a.inFlight, Capacity: a.o.Capacity,
		Progress: a.progress.Load(),
	}
	if h.Status == contracts.StatusStuck {
		h.Detail = a.stuck
	}
	for _, until := range a.busy {
		if h.BusyUntil == nil || until.After(*h.BusyUntil) {
			h.BusyUntil = &until
		}
	}
	return h
}

// statusLocked is what the agent says of itself: the gravest that is true.
func (a *Agent) statusLocked() contracts.AgentStatus {
	switch {
	case a.status != contracts.StatusRunning:
		return a.status
	case a.stuck != "":
		return contracts.StatusStuck
	case a.unwell != "":
		return contracts.StatusDegraded
	case a.inFlight >= a.o.Capacity:
		return contracts.StatusBusy
	default:
		return contracts.StatusRunning
	}
}

// BusyUntil announces that the agent will show no progress before t, so that neither
// its watchdog nor the detector takes it for hung. The zero time takes the
// announcement back. A handler calls [Task.BusyUntil] instead.
func (a *Agent) BusyUntil(t time.Time) { a.busyUntil(&a.loop, t) }

func (a *Agent) busyUntil(p *piece, t time.Time) {
	a.mu.Lock()
	if t.IsZero() {
		delete(a.busy, p)
	} else {
		a.busy[p] = t.UTC()
	}
	a.mu.Unlock()
	poke(a.look)
}

// watchHealth asks Health once an interval, never twice at the same time.
func (a *Agent) watchHealth() {
	ticker := time.NewTicker(a.o.HeartbeatInterval)
	defer ticker.Stop()
	results := make(chan error, 1)
	asking := a.askHealth(results)
	for {
		select {
		case err := <-results:
			asking = false
			a.setUnwell(err)
		case <-ticker.C:
			if asking {
				a.setUnwell(fmt.Errorf("health check has not returned within %s", a.o.HeartbeatInterval))
			} else {
				asking = a.askHealth(results)
			}
		case <-a.stopping:
			return
		}
	}
}

// askHealth runs Health, unless the agent is stopping.
func (a *Agent) askHealth(results chan<- error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status != contracts.StatusRunning {
		return false
	}
	a.beginLocked()
	go catch(func() error { return a.o.Health(a.work) }, func(err error) {
		results <- err
		a.handlers.Add(-1)
		a.running.Done()
	})
	return true
}

// setUnwell takes the result of a health check and beats when it is news.
func (a *Agent) setUnwell(err error) {
	unwell := ""
	if err != nil {
		unwell = contracts.Clip(err.Error(), 512)
	}
	a.mu.Lock()
	before := a.unwell
	a.unwell = unwell
	a.mu.Unlock()
	if (before == "") == (unwell == "") {
		return
	}
	a.log.Warn("health has changed", "degraded", unwell != "", "detail", unwell)
	poke(a.kick)
}
