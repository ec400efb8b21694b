package main

import (
	"bytes"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// addOutput adds the last that the incarnation printed of whose end the answer
// tells. Runners are asked: events do not have it, because those who read them may
// not be those who may read output.
func (c *whyCmd) addOutput(a *app, nc *nats.Conn, answer *describe.Answer) {
	n := lastEnd(answer.Chain, c.Name)
	if answer.Now == nil || n == 0 {
		return
	}
	var err error
	if answer.Output, err = c.printed(a, nc, n); err != nil && !notFound(err) {
		answer.Notes = append(answer.Notes, "what it printed is not known: "+err.Error())
	}
}

// lastEnd is the last incarnation of an agent of which a chain reports the end, or
// 0.
func lastEnd(chain []contracts.WhyLink, agent string) (n uint64) {
	for _, l := range chain {
		if l.Entity == agent && (l.Type == contracts.AgentFailed || l.Type == contracts.AgentStopped) {
			n = max(n, l.Incarnation)
		}
	}
	return n
}

// outputPatience is how long runners may take to say what an agent printed.
const outputPatience = 2 * time.Second

// printed returns the last that an incarnation printed.
func (c *whyCmd) printed(a *app, nc *nats.Conn, incarnation uint64) (*describe.Output, error) {
	flags := c.clientFlags
	flags.Timeout = min(flags.Timeout, outputPatience)
	f := follower{app: a, cmd: &logsCmd{clientFlags: flags, Agent: c.Name}, nc: nc}
	const lines = 20
	p, err := f.find(contracts.LogsRequest{Agent: c.Name, Incarnation: incarnation, Lines: lines})
	if err != nil {
		return nil, err
	}
	out := &describe.Output{Agent: c.Name, Incarnation: incarnation, Lines: []describe.OutputLine{}}
	for text := range bytes.Lines(p.data) {
		line, err := contracts.ParseOutputLine(bytes.TrimSuffix(text, []byte{'\n'}))
		if err == nil && line.Tag != contracts.OutputNote {
			out.Lines = append(out.Lines, describe.OutputLine{Time: line.Time, Text: strings.ToValidUTF8(string(line.Text), "\uFFFD")})
		}
	}
	return out, nil
}
