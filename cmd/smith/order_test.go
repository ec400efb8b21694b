package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// supervisors answer orders as told: by a reply, an error code, or silence.
type supervisors struct {
	t       *testing.T
	answers []any
	inHand  sync.WaitGroup

	mu     sync.Mutex
	tokens map[string]int
}

type silence struct{}

// answer replies to the next request; the last answer is given again.
func (s *supervisors) answer(m *nats.Msg) {
	var req contracts.NodeRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	s.tokens[req.Token]++
	next := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	s.mu.Unlock()
	reply := nats.NewMsg(m.Reply)
	switch next := next.(type) {
	case silence:
		return
	case string:
		reply.Header.Set(micro.ErrorHeader, "code "+next)
		reply.Header.Set(micro.ErrorCodeHeader, next)
	case contracts.OrderReply:
		if next.UnderWay {
			<-time.After(req.Wait.D())
		}
		reply.Data, _ = json.Marshal(next)
	}
	if err := m.RespondMsg(reply); err != nil {
		s.t.Error(err)
	}
}

// TestOrderWaits: a client waits as long as its order takes, asks again under one
// token whatever happens meanwhile, and says what it knows when it cannot wait.
func TestOrderWaits(t *testing.T) {
	done, underWay := contracts.OrderReply{OK: true}, contracts.OrderReply{OK: true, UnderWay: true, Left: 7, Status: contracts.NodeStopping}
	for _, c := range []struct {
		name    string
		answers []any
		// interrupt is when the caller is interrupted, 0 for never.
		interrupt time.Duration
		err       string
		least     time.Duration
		most      time.Duration
	}{
		{name: "at once", answers: []any{done}, most: time.Second},
		{name: "long", answers: append(repeat(any(underWay), 40), done), least: time.Minute, most: 2 * time.Minute},
		{name: "a takeover", answers: []any{underWay, "503", silence{}, "503", underWay, done}, least: 5 * time.Second, most: 20 * time.Second},
		{name: "not decided yet", answers: []any{"503", done}, most: 2 * time.Second},
		{name: "refused", answers: []any{"409"}, err: "code 409", most: time.Second},
		{name: "fails later", answers: []any{underWay, "409"}, err: "code 409", most: time.Second},
		{name: "never decided", answers: []any{"503"}, err: "code 503", least: 10 * time.Second, most: 11 * time.Second},
		{name: "nobody is left", answers: []any{underWay, silence{}}, err: "no answer on smith.supervisor.restart within", least: time.Minute, most: 80 * time.Second},
		{name: "interrupted", answers: []any{underWay}, interrupt: 5 * time.Second, err: "restart a: interrupted; it is under way and goes on", least: 5 * time.Second, most: 5 * time.Second},
		{name: "interrupted early", answers: []any{silence{}}, interrupt: time.Second, err: "interrupted before the supervisor had answered", least: time.Second, most: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				nc := natstest.Start(t).Connect(t)
				s := &supervisors{t: t, tokens: map[string]int{}, answers: c.answers}
				sub, err := nc.Subscribe("smith.supervisor.restart", func(m *nats.Msg) { s.inHand.Go(func() { s.answer(m) }) })
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = sub.Unsubscribe() }()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.interrupt > 0 {
					time.AfterFunc(c.interrupt, cancel)
				}
				begin := time.Now()
				o := order{
					nc: nc, verb: "restart", what: "restart a", begin: begin, req: &contracts.NodeRequest{Node: "a"},
					flags: clientFlags{NATSFlags: shell.NATSFlags{Timeout: 10 * time.Second}},
				}
				_, err = o.await(ctx)
				if got := message(err); !strings.Contains(got, c.err) || c.err == "" && err != nil {
					t.Errorf("error %q, want %q", got, c.err)
				}
				if took := time.Since(begin); took < c.least || took > c.most {
					t.Errorf("it took %s", took)
				}
				synctest.Wait() // what it asked last may just be arriving
				s.inHand.Wait()
				if len(s.tokens) != 1 || s.tokens[""] > 0 {
					t.Errorf("asked under %v", s.tokens)
				}
			})
		})
	}
}

func TestOrderToNobody(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		begin := time.Now()
		o := order{begin: begin, nc: natstest.Start(t).Connect(t), verb: "restart", req: &contracts.NodeRequest{Node: "a"}, flags: clientFlags{NATSFlags: shell.NATSFlags{Timeout: 10 * time.Second}}}
		_, err := o.await(t.Context())
		if took := time.Since(begin); !errors.Is(err, nats.ErrNoResponders) || took < takeoverTakes || took > takeoverTakes+time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}

// TestTakeover: what is asked, and ordered, after a supervisor has ended is answered by
// the next. A question that changes something is not asked again once it has arrived, and
// other services are not waited for.
func TestTakeover(t *testing.T) {
	for name, c := range map[string]struct {
		service, verb string
		// absent is how long nobody answers; then there is the first answer.
		absent time.Duration
		first  any
		fails  bool
	}{
		"a question":             {contracts.ServiceSupervisor, "tree", 1800 * time.Millisecond, contracts.OrderReply{OK: true}, false},
		"to one that is deposed": {contracts.ServiceSupervisor, "tree", 0, contracts.CodeNotReady, false},
		"one that changes":       {contracts.ServiceSupervisor, "apply", 1800 * time.Millisecond, contracts.OrderReply{OK: true}, false},
		"that has arrived":       {contracts.ServiceSupervisor, "apply", 0, contracts.CodeNotReady, true},
		"one that is lost":       {contracts.ServiceSupervisor, "tree", 0, silence{}, false},
		"one that changes, lost": {contracts.ServiceSupervisor, "apply", 0, silence{}, true},
		"refused":                {contracts.ServiceSupervisor, "tree", 0, contracts.CodeNotFound, true},
		"too late":               {contracts.ServiceSupervisor, "tree", 7 * time.Second, contracts.OrderReply{OK: true}, true},
		"another service":        {contracts.ServiceRouter, "tree", 1800 * time.Millisecond, contracts.OrderReply{OK: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				server := natstest.Start(t)
				nc, own := server.Connect(t), server.Connect(t)
				s := &supervisors{t: t, answers: []any{c.first, contracts.OrderReply{OK: true}}, tokens: map[string]int{}}
				s.inHand.Go(func() {
					<-time.After(c.absent)
					if _, err := own.Subscribe(contracts.ServiceSubject(c.service, c.verb), s.answer); err != nil {
						t.Error(err)
					}
				})
				if c.absent == 0 {
					s.inHand.Wait()
					if err := own.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				a := &app{ctx: t.Context(), stdout: io.Discard, stderr: io.Discard}
				reply, err := askOn[contracts.OrderReply](a, clientFlags{NATSFlags: shell.NATSFlags{Timeout: 10 * time.Second}}, nc, c.service, c.verb, contracts.NodeRequest{})
				if (err != nil) != c.fails || reply.OK == c.fails {
					t.Errorf("%+v, %v", reply, err)
				}
				s.inHand.Wait()
			})
		})
	}
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.Start(t)
		nc, own := server.Connect(t), server.Connect(t)
		s := &supervisors{t: t, answers: []any{silence{}, contracts.OrderReply{OK: true}}, tokens: map[string]int{}}
		s.inHand.Go(func() {
			<-time.After(1800 * time.Millisecond)
			if _, err := own.Subscribe("smith.supervisor.restart", s.answer); err != nil {
				t.Error(err)
			}
		})
		begin := time.Now()
		o := order{nc: nc, begin: begin, verb: "restart", req: &contracts.NodeRequest{Node: "a"}, flags: clientFlags{NATSFlags: shell.NATSFlags{Timeout: 10 * time.Second}}}
		reply, err := o.await(t.Context())
		if took := time.Since(begin); err != nil || !reply.OK || took > 8*time.Second {
			t.Errorf("an order of which the first is lost: %+v, %v after %s", reply, err, took)
		}
		s.inHand.Wait()
	})
}

// TestProgress: nothing is shown in the first second, and nothing is left.
func TestProgress(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		var out bytes.Buffer
		p := showProgress(&out)
		p.set("drain: under way, waiting for 7 agents")
		<-time.After(900 * time.Millisecond)
		p.close()
		if out.Len() > 0 {
			t.Errorf("early: %q", out.String())
		}
		p = showProgress(&out)
		p.set("drain: under way, waiting for 7 agents")
		<-time.After(1500 * time.Millisecond)
		p.set("drain: under way, waiting for 1 agent")
		<-time.After(time.Second)
		p.close()
		if got, want := out.String(), "\r\x1b[Kdrain: under way, waiting for 7 agents, 1s\r\x1b[Kdrain: under way, waiting for 1 agent, 2s\r\x1b[K"; got != want {
			t.Errorf("%q", got)
		}
		var none *progress
		none.set("x")
		none.close()
	})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}
