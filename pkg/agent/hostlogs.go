package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const (
	// defaultOutput is how much output is kept of an agent, leastOutput how little
	// may be.
	defaultOutput = 64 << 10
	leastOutput   = 8 << 10
	// maxReaders is how many may wait for output at once.
	maxReaders = 64
	// gather is how long output is gathered for those who wait for it.
	gather = 10 * time.Millisecond
)

// printing returns the place for what an incarnation is going to print; r.mu is held.
func (r *hosting) printing(agent string, incarnation uint64) *printed {
	o := r.outputs[agent]
	if o == nil {
		if len(r.outputs) >= 2*r.Capacity {
			r.dropOldestOutput()
		}
		o = &output{limit: r.OutputBytes}
		r.outputs[agent] = o
	}
	return o.begin(incarnation)
}

// dropOldestOutput makes room: it deletes the output of the agent that ended first;
// r.mu is held. At most Capacity live, so there is one.
func (r *hosting) dropOldestOutput() {
	var oldest *hosted
	for name := range r.outputs {
		a := r.agents[name]
		if a.exit != nil && (oldest == nil || a.exit.At.Before(oldest.exit.At)) {
			oldest = a
		}
	}
	if oldest != nil {
		delete(r.outputs, oldest.cmd.Agent)
	}
}

// logInto returns a logger that writes to the host's log and to an agent's output.
func (r *hosting) logInto(p *printed) *slog.Logger {
	lines := slog.NewTextHandler(p, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{} // each line of output has its time
		}
		return a
	}})
	return slog.New(slog.NewMultiHandler(r.base.Log.Handler(), lines))
}

// onLogs answers when there is output, so it must not hold up other requests.
func (r *hosting) onLogs(req micro.Request) {
	cmd, err := decodeCommand[contracts.LogsRequest](req.Data())
	if err != nil {
		r.refuse(req, contracts.CodeBadRequest, err)
		return
	}
	select {
	case r.readers <- struct{}{}:
	default:
		r.refuse(req, contracts.CodeInternal, fmt.Errorf("host %s has %d readers of output in hand; try again", r.Name, maxReaders))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.helpers.Go(func() {
		defer func() { <-r.readers }()
		r.logs(req, cmd)
	})
}

// logs answers with output, as soon as there is some, or says why there is none.
func (r *hosting) logs(req micro.Request, cmd contracts.LogsRequest) {
	reply, data, err := r.awaitOutput(cmd)
	code := contracts.CodeInternal
	if errors.Is(err, contracts.ErrNoOutput) {
		code = contracts.CodeNotFound
	}
	head, bad := json.Marshal(reply)
	if err = errors.Join(err, bad); err != nil {
		r.refuse(req, code, err)
		return
	}
	msg := nats.NewMsg(req.Reply())
	msg.Header.Set(contracts.HeaderLogs, string(head))
	msg.Data = data
	r.send(req, msg)
}

func (r *hosting) awaitOutput(cmd contracts.LogsRequest) (contracts.LogsReply, []byte, error) {
	timeout := time.NewTimer(cmd.Wait.D())
	defer timeout.Stop()
	for {
		r.mu.Lock()
		o := r.outputs[cmd.Agent]
		r.mu.Unlock()
		if o == nil {
			o = &output{}
		}
		reply, data, grown, err := o.read(r.Name, cmd)
		if err != nil || len(data) > 0 || reply.Successor != 0 || cmd.Wait == 0 {
			return reply, data, err
		}
		cmd.Incarnation, cmd.Previous, cmd.At = reply.Incarnation, false, &reply.Next
		select {
		case <-grown:
			// An agent that prints line by line is not to be answered line by line.
			<-time.After(gather)
		case <-timeout.C:
			return reply, nil, nil
		case <-r.down:
			return reply, nil, nil
		}
	}
}

// refuse answers a request whose reply is not a contracts.RunnerReply.
func (r *hosting) refuse(req micro.Request, code string, err error) {
	msg := nats.NewMsg(req.Reply())
	msg.Header.Set(micro.ErrorHeader, contracts.Clip(err.Error(), 1024))
	msg.Header.Set(micro.ErrorCodeHeader, code)
	r.send(req, msg)
}

func (r *hosting) send(req micro.Request, msg *nats.Msg) {
	if err := r.link.work.PublishMsg(msg); err != nil {
		r.log.Warn("cannot answer a request", "subject", req.Subject(), "error", err)
	}
}

// onForget deletes what agents printed that are no longer in the tree which they were
// started for. That they ran is still known, so that a late start is refused.
func (r *hosting) onForget(req micro.Request) {
	cmd, err := decodeCommand[contracts.ForgetCommand](req.Data())
	if err != nil {
		r.answer(req, contracts.RunnerReply{Code: contracts.RunnerInvalid, Error: err.Error()})
		return
	}
	r.mu.Lock()
	for _, name := range cmd.Agents {
		if a := r.agents[name]; a != nil && a.exit != nil && a.cmd.Tree == cmd.Tree {
			a.removed = true
			delete(r.outputs, name)
		}
	}
	r.mu.Unlock()
	r.answer(req, contracts.RunnerReply{Code: contracts.RunnerOK})
}
