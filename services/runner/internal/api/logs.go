package api

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// logs answers with a message that has output, or says why there is none.
func (a *API) logs(body []byte) (any, error) {
	msg := nats.NewMsg("")
	refuse := func(code string, err error) {
		msg.Header.Set(micro.ErrorHeader, contracts.Clip(shell.OneLine(err.Error()), 1024))
		msg.Header.Set(micro.ErrorCodeHeader, code)
	}
	req, err := decode[contracts.LogsRequest](body)
	if err != nil {
		refuse(contracts.CodeBadRequest, err)
		return msg, err
	}
	reply, data, err := a.agents.Logs(a.ctx, req)
	switch {
	case errors.Is(err, contracts.ErrNoOutput):
		refuse(contracts.CodeNotFound, err)
		return msg, nil
	case err != nil:
		refuse(contracts.CodeInternal, err)
		return msg, nil
	}
	head, err := json.Marshal(reply)
	if err != nil {
		refuse(contracts.CodeInternal, err)
		return msg, nil
	}
	msg.Header.Set(contracts.HeaderLogs, string(head))
	msg.Data = data
	return msg, nil
}

// maxLogsRate bounds the output that is sent in a second, to all readers together:
// reading it must not take the processor from starts and stops.
const maxLogsRate = 64 << 20

// send sends output. Starts, stops and heartbeats share the connection, so one
// message of output at a time is on its way to the server.
func (a *API) send(r micro.Request, msg *nats.Msg) {
	const patience = 5 * time.Second
	select {
	case a.sending <- struct{}{}:
	case <-a.ctx.Done():
		return
	}
	defer func() { <-a.sending }()
	msg.Subject = r.Reply()
	err := a.env.NC.PublishMsg(msg)
	if err == nil && len(msg.Data) > 0 {
		err = a.env.NC.FlushTimeout(patience)
		_ = shell.Pause(a.ctx, time.Duration(len(msg.Data))*time.Second/maxLogsRate)
	}
	if err != nil {
		a.env.Log.Debug("output not sent", "subject", r.Subject(), "error", err)
	}
}
