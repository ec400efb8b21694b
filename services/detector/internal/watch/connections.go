package watch

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/connection"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

const (
	// A connection that was lost may come back within half an interval of the
	// agent, at most maxBack. Heartbeats that were sent on it before may be
	// heard as much later as straggle.
	minBack, maxBack = 50 * time.Millisecond, 2 * time.Second
	straggle         = 10 * time.Millisecond
)

// advisory is what this service reads of a server's word on a connection.
type advisory struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Client struct {
		ID    uint64    `json:"id"`
		Name  string    `json:"name"`
		Host  string    `json:"host"`
		Start time.Time `json:"start"`
	} `json:"client"`
	Reason string `json:"reason"`
}

// maxAdvisory bounds what is decoded; a server's is about 1 KB.
const maxAdvisory = 64 << 10

// hearConnections listens to the server's advisories, where this account gets
// any. Without them connections say nothing, and all else works as before.
func (w *Watcher) hearConnections() (stop func()) {
	var subs []*nats.Subscription
	for subject, opened := range map[string]bool{contracts.ConnectAdvisories: true, contracts.DisconnectAdvisories: false} {
		sub, err := w.env.NC.Subscribe(subject, func(m *nats.Msg) { w.advised(m, opened) })
		if err != nil {
			w.env.Log.Info("no word of the server on connections", "subject", subject, "error", err)
			continue
		}
		subs = append(subs, sub)
	}
	return func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe()
		}
	}
}

// decodeAdvisory reads a server's word on a connection.
func decodeAdvisory(body []byte) (a advisory, err error) {
	if len(body) > maxAdvisory {
		return a, fmt.Errorf("%d bytes; at most %d", len(body), maxAdvisory)
	}
	return a, json.Unmarshal(body, &a)
}

// advised takes a word on a connection; those that nobody beats on are ignored.
func (w *Watcher) advised(m *nats.Msg, opened bool) {
	a, err := decodeAdvisory(m.Data)
	if err != nil {
		w.metrics.malformed.WithLabelValues("advisory").Inc()
		return
	}
	agent, incarnation, beats := contracts.ParseHeartbeatConnection(a.Client.Name)
	if !beats {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if opened {
		w.book.Opened(agent, incarnation, connection.Conn{
			Name: a.Client.Name, Server: a.Server.ID, ID: a.Client.ID, Host: a.Client.Host, Since: a.Client.Start,
		})
		return
	}
	w.metrics.connectionsLost.Inc()
	now := w.now()
	grace := maxBack
	if v, known := w.fleet.Agent(now, agent); known {
		grace = min(max(v.Evidence.Interval/2, minBack), maxBack)
	}
	w.book.Closed(now, agent, incarnation, a.Server.ID, a.Client.ID, grace)
}

// disconnected judges the agents whose connections did not come back.
func (w *Watcher) disconnected() {
	w.mu.Lock()
	lost := w.book.Due(w.now())
	w.mu.Unlock()
	for _, l := range lost {
		w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding {
			return f.Disconnected(now, l.At+straggle, l.Agent, l.Incarnation)
		})
	}
}

// tellConflict reports, once it is certain, that two processes beat under one
// name.
func (w *Watcher) tellConflict(now fleet.Instant, fd fleet.Finding) {
	if !w.rivals.WentBack(now, fd.Agent, fd.Incarnation, fd.Seq, fd.LastSeq) || !w.peers.speaks(now, fd.Agent) {
		return
	}
	w.env.Log.Warn("two processes beat under one name", "agent", fd.Agent, "incarnation", fd.Incarnation)
	w.metrics.conflicts.Inc()
	d := contracts.AgentConflictData{
		Agent: fd.Agent, Incarnation: fd.Incarnation,
		Detail: fmt.Sprintf("two processes beat as %s: heartbeat %d came after %d, and so again and again; give one of them another name", fd.Agent, fd.Seq, fd.LastSeq),
	}
	for _, c := range w.book.Of(fd.Agent) {
		d.Connections = append(d.Connections, contracts.Connection{Name: c.Name, Server: c.Server, ID: c.ID, Host: c.Host, Since: c.Since})
	}
	w.post(fd, w.env.Event(contracts.AgentConflict, fd.Agent).Data(d))
}
