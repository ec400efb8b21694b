package fleet

import (
	"context"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/output"
)

// gather is how long output is gathered for those who wait for it.
const gather = 10 * time.Millisecond

// Logs returns a part of what an agent printed, see [contracts.LogsRequest]. It
// reads what is stored, so it keeps neither the agent nor the runner from anything.
func (f *Fleet) Logs(ctx context.Context, req contracts.LogsRequest) (contracts.LogsReply, []byte, error) {
	deadline := time.NewTimer(req.Wait.D())
	defer deadline.Stop()
	const look = 200 * time.Millisecond // for what is not output: another incarnation
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		reply, data, grown, err := f.logs(req)
		if err != nil || len(data) > 0 || reply.Successor != 0 || req.Wait == 0 {
			return reply, data, err
		}
		req.Incarnation, req.Previous, req.At = reply.Incarnation, false, &reply.Next
		select {
		case <-grown:
			// An agent that prints line by line is not to be answered line by line.
			time.Sleep(gather)
		case <-tick.C:
		case <-deadline.C:
			return reply, nil, nil
		case <-ctx.Done():
			return reply, nil, nil
		}
	}
}

// logs is one look; grown is closed when there is more, or nil.
func (f *Fleet) logs(req contracts.LogsRequest) (reply contracts.LogsReply, data []byte, grown <-chan struct{}, err error) {
	newest, live, grown := f.printing(req.Agent)
	dir := f.o.Ledger.OutputDir(req.Agent)
	reply.Agent = req.Agent
	if reply.Kept, reply.FirstFailure, err = output.Kept(dir); err != nil {
		return reply, nil, nil, err
	}
	if n := len(reply.Kept); n > 0 {
		newest = max(newest, reply.Kept[n-1])
	}
	if reply.Incarnation, err = req.Choose(f.o.Runner, reply.Kept, newest); err != nil {
		return reply, nil, nil, err
	}
	part, err := output.Read(dir, reply.Incarnation, output.From{At: req.At, Since: req.Since, Lines: req.Lines}, contracts.MaxLogsBytes)
	if err != nil {
		return reply, nil, nil, err
	}
	reply.At, reply.Next, reply.End, reply.Dropped = part.At, part.Next, part.End, part.Dropped
	// It was looked whether it lives before it was read.
	reply.Ended = len(part.Data) == 0 && (reply.Incarnation != newest || !live)
	if reply.Ended {
		reply.Successor = reply.Following(newest)
	}
	return reply, part.Data, grown, nil
}

// printing returns the newest incarnation of an agent, whether anything of it may
// print, and what is closed when it has.
func (f *Fleet) printing(name string) (newest uint64, live bool, grown <-chan struct{}) {
	f.mu.Lock()
	a := f.agents[name]
	f.mu.Unlock()
	if a == nil {
		return 0, false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out != nil {
		grown = a.out.Grown()
	}
	return a.rec.Incarnation(), a.rec.Live() || a.out != nil, grown
}
