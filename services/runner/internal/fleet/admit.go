package fleet

import (
	"fmt"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

// maxOutbox bounds the events that wait for the event stream while an agent is
// started again and again.
const maxOutbox = 32

// admit decides what a start command means for an agent with this record: the
// answer to give, or RunnerOK without a pid when a process is to be started.
func admit(rec ledger.Record, cmd contracts.StartCommand) contracts.RunnerReply {
	reply := contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation}
	no := func(code contracts.RunnerCode, incarnation uint64, format string, args ...any) contracts.RunnerReply {
		reply.Code, reply.Incarnation = code, incarnation
		reply.Error = fmt.Sprintf("agent %s: ", cmd.Agent) + fmt.Sprintf(format, args...)
		return reply
	}
	switch {
	case rec.Up() && cmd.Incarnation == rec.Incarnation():
		reply.PID, reply.Started = rec.Process.PID, &rec.Started
		return reply
	case cmd.Incarnation < rec.Highest:
		if rec.Up() && rec.Incarnation() == rec.Highest && rec.Stop == nil {
			reply.PID, reply.Started, reply.Live = rec.Process.PID, &rec.Started, true
		}
		return no(contracts.RunnerStale, rec.Highest, "incarnation %d is older than %d, which is known here", cmd.Incarnation, rec.Highest)
	case rec.State == ledger.Leaving && cmd.Incarnation > rec.Incarnation():
		return no(contracts.RunnerStillRunning, rec.Incarnation(), "incarnation %d has ended, but not yet all that it started; stop it first", rec.Incarnation())
	case rec.Up():
		return no(contracts.RunnerStillRunning, rec.Incarnation(), "incarnation %d still runs as process %d; stop it first", rec.Incarnation(), rec.Process.PID)
	case rec.Exit != nil && cmd.Incarnation == rec.Incarnation():
		reply.Exit = rec.Exit
		return no(contracts.RunnerAlreadyExited, cmd.Incarnation, "incarnation %d has run and ended", cmd.Incarnation)
	case rec.Failure != "" && cmd.Incarnation == rec.Incarnation():
		reply.Code, reply.Error = contracts.RunnerStartFailed, rec.Failure // as it was answered the first time
		return reply
	case rec.Stop != nil && cmd.Incarnation <= rec.Stop.Incarnation:
		reply.Exit = &contracts.Exit{Code: -1, Unknown: true, Blame: contracts.BlameOrder}
		return no(contracts.RunnerAlreadyExited, cmd.Incarnation, "incarnation %d was ordered to stop before it started", cmd.Incarnation)
	case len(rec.Outbox) >= maxOutbox:
		return no(contracts.RunnerInternal, cmd.Incarnation, "%d events of earlier incarnations are not stored yet; is the event stream reachable?", len(rec.Outbox))
	}
	return reply
}
