package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// claimTimeout is how long a process that has the same name may take to say
// so. Nobody there is known at once, from the server.
const claimTimeout = 250 * time.Millisecond

// claimName makes sure that no other process already runs as this agent. An
// older incarnation is no obstacle: it ends when it sees this one's beat.
func (a *Agent) claimName() error {
	msg, err := ask(a.link.work, contracts.AgentPingSubject(a.o.Agent))
	if err != nil {
		return nil // nobody, or nobody who can speak; beats will tell
	}
	var other contracts.PingReply
	if err := json.Unmarshal(msg.Data, &other); err != nil {
		return fmt.Errorf("%w: something unknown answers on %s; choose another name or stop it", ErrNameTaken, msg.Subject)
	}
	switch {
	case other.Incarnation > a.o.Incarnation:
		return fmt.Errorf("%w: incarnation %d already runs, this one is %d", ErrSuperseded, other.Incarnation, a.o.Incarnation)
	case other.Incarnation == a.o.Incarnation && other.Status != contracts.StatusStopped:
		return fmt.Errorf("%w: another process answers as incarnation %d; stop it or choose another name", ErrNameTaken, other.Incarnation)
	}
	return nil
}

// subscribe listens for requests and for other incarnations. When it returns,
// the server knows of the subscriptions: a beat sent now may be answered.
func (a *Agent) subscribe() (unsubscribe func(), err error) {
	var subs []*nats.Subscription
	unsubscribe = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // fails only on a closed connection, which has none
		}
	}
	on := func(nc *nats.Conn, subject string, f nats.MsgHandler) {
		if err != nil {
			return
		}
		var s *nats.Subscription
		if s, err = nc.Subscribe(subject, f); err == nil {
			subs = append(subs, s)
		}
	}
	on(a.link.work, contracts.AgentPingSubject(a.o.Agent), a.onPing)
	on(a.link.work, contracts.AgentStopSubject(a.o.Agent), a.onStop)
	on(a.link.work, contracts.AgentTaskSubject(a.o.Agent), a.onTask)
	on(a.link.beat, contracts.HeartbeatSubject(a.o.Agent), a.onOtherBeat)
	for _, nc := range []*nats.Conn{a.link.work, a.link.beat} {
		if err == nil {
			err = flush(nc, a.o.ConnectTimeout)
		}
	}
	if err != nil {
		unsubscribe()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return unsubscribe, nil
}

func (a *Agent) onPing(msg *nats.Msg) {
	a.mu.Lock()
	answer := contracts.PingReply{
		Incarnation: a.o.Incarnation, Status: a.statusLocked(), InFlight: a.inFlight,
	}
	if answer.Detail = a.unwell; answer.Status == contracts.StatusStuck {
		answer.Detail = a.stuck
	}
	a.mu.Unlock()
	reply(msg, a.log, answer)
}

// onStop obeys unless the request means an older incarnation.
func (a *Agent) onStop(msg *nats.Msg) {
	var req contracts.AgentStopRequest
	if len(msg.Data) > 0 {
		err := errors.New("too large")
		if len(msg.Data) <= contracts.MaxRequestBytes {
			err = json.Unmarshal(msg.Data, &req)
		}
		if err != nil {
			reply(msg, a.log, contracts.OK{Warning: "not understood: send nothing, or {\"incarnation\": 1, \"timeout\": \"5s\"}: " + contracts.Clip(err.Error(), 256)})
			return
		}
	}
	if req.Incarnation != 0 && req.Incarnation < a.o.Incarnation {
		reply(msg, a.log, contracts.OK{Warning: fmt.Sprintf("stale incarnation %d; this is %d", req.Incarnation, a.o.Incarnation)})
		return
	}
	reply(msg, a.log, contracts.OK{OK: true})
	a.stop(nil, req.Timeout.D())
}

// onOtherBeat sees the beats of others under this agent's name.
func (a *Agent) onOtherBeat(msg *nats.Msg) {
	h, err := contracts.DecodeHeartbeat(msg.Data)
	if err != nil || h.Incarnation < a.o.Incarnation {
		return // whoever sent it will be told by others
	}
	if h.Incarnation > a.o.Incarnation {
		a.stop(fmt.Errorf("%w: incarnation %d beats, this one is %d", ErrSuperseded, h.Incarnation, a.o.Incarnation), 0)
		return
	}
	a.mu.Lock()
	now := time.Now()
	due := now.Sub(a.warned) >= time.Minute
	if due {
		a.warned = now
	}
	a.mu.Unlock()
	if due {
		a.log.Warn("somebody else beats as this agent and incarnation; give one of them another name")
	}
}
