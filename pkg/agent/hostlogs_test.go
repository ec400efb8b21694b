package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// logs asks the host for output; code is that of a refusal.
func (w *world) logs(req any) (reply contracts.LogsReply, lines []string, code string) {
	w.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		w.t.Fatal(err)
	}
	msg, err := w.nc.RequestWithContext(w.soon(), contracts.RunnerSubject("h", "logs"), body)
	if err != nil {
		w.t.Fatal(err)
	}
	if code := msg.Header.Get(micro.ErrorCodeHeader); code != "" {
		return reply, []string{msg.Header.Get(micro.ErrorHeader)}, code
	}
	if err := json.Unmarshal([]byte(msg.Header.Get(contracts.HeaderLogs)), &reply); err != nil {
		w.t.Fatalf("header %v: %v", msg.Header, err)
	}
	for text := range strings.Lines(string(msg.Data)) {
		line, err := contracts.ParseOutputLine([]byte(strings.TrimSuffix(text, "\n")))
		if err != nil {
			w.t.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, string(line.Tag)+string(line.Text))
	}
	return reply, lines, ""
}

func TestHostKeepsWhatItsAgentsPrint(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		steps := make(chan string)
		end := w.host(func(h *agent.Host) {
			h.Funcs["chatty"] = func(_ context.Context, o agent.Options) error {
				for text := range steps {
					fmt.Fprint(o.Output, text)
				}
				o.Log.Info("about to fail", "n", o.Incarnation)
				fmt.Fprint(o.Output, "half a line")
				if o.Incarnation > 1 {
					panic("too bad")
				}
				return errBoom
			}
		})
		if _, why, code := w.logs(contracts.LogsRequest{Agent: "g1"}); code != contracts.CodeNotFound || !strings.Contains(why[0], "never ran here") {
			t.Errorf("of an agent that never ran: %s %q", code, why)
		}
		if _, why, code := w.logs(contracts.LogsRequest{Agent: "g1", Lines: -1}); code != contracts.CodeBadRequest || !strings.Contains(why[0], "lines") {
			t.Errorf("malformed: %s %q", code, why)
		}
		w.start("g1", 1, "chatty")
		if reply, lines, _ := w.logs(contracts.LogsRequest{Agent: "g1"}); reply.Incarnation != 1 || reply.Ended || lines != nil {
			t.Errorf("of one that has printed nothing: %+v %q", reply, lines)
		}
		go func() {
			<-time.After(3 * time.Second)
			steps <- "one\ntwo\nth"
			<-time.After(time.Second)
			steps <- "ree\n" + strings.Repeat("x", 9000) + "\n"
			close(steps)
		}()
		begin := time.Now()
		reply, lines, _ := w.logs(contracts.LogsRequest{Agent: "g1", Wait: contracts.Duration(10 * time.Second)})
		if got := time.Since(begin).Round(100 * time.Millisecond); got != 3*time.Second || !slices.Equal(lines, []string{" one", " two"}) || reply.Next != reply.End {
			t.Errorf("waited %s for %q, %+v", got, lines, reply)
		}
		w.log("smith.event.agent.failed.g1", 1)
		reply, lines, _ = w.logs(contracts.LogsRequest{Agent: "g1", Incarnation: 1, At: &reply.Next})
		want := []string{" three", " " + strings.Repeat("x", 8192), "+" + strings.Repeat("x", 808), ` level=INFO msg="about to fail" n=1`, " half a line", " boom"}
		if !slices.Equal(lines, want) || reply.At == 0 || reply.Dropped != 0 {
			t.Errorf("the rest: %q, %+v, want %q", lines, reply, want)
		}
		if last, lines, _ := w.logs(contracts.LogsRequest{Agent: "g1", At: &reply.End}); !last.Ended || last.Successor != 0 || lines != nil {
			t.Errorf("at the end: %+v %q", last, lines)
		}

		w.start("g1", 2, "chatty")
		w.log("smith.event.agent.failed.g1", 2)
		reply, lines, _ = w.logs(contracts.LogsRequest{Agent: "g1", Lines: 1})
		if !slices.Equal(lines, []string{" panicked: too bad"}) || !slices.Equal(reply.Kept, []uint64{1, 2}) {
			t.Errorf("the last line: %q, %+v", lines, reply)
		}
		if _, lines, _ = w.logs(contracts.LogsRequest{Agent: "g1", Lines: 20}); !strings.Contains(strings.Join(lines, "\n"), "hostlogs_test.go") {
			t.Errorf("it is not said where it panicked: %q", lines)
		}
		if reply, lines, _ = w.logs(contracts.LogsRequest{Agent: "g1", Previous: true, Lines: 2}); reply.Incarnation != 1 || !slices.Equal(lines, []string{" half a line", " boom"}) {
			t.Errorf("the previous: %q, %+v", lines, reply)
		}
		if ended, _, _ := w.logs(contracts.LogsRequest{Agent: "g1", Incarnation: 1, At: &reply.End}); !ended.Ended || ended.Successor != 2 {
			t.Errorf("at the end of the first: %+v", ended)
		}
		for after, want := range map[time.Duration][]string{0: {" half a line", " boom"}, time.Millisecond: nil} {
			since := begin.Add(4*time.Second + after)
			if _, lines, _ = w.logs(contracts.LogsRequest{Agent: "g1", Incarnation: 1, Since: &since, Lines: 2}); !slices.Equal(lines, want) {
				t.Errorf("since %s after its last line: %q", after, lines)
			}
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostBoundsWhatItKeeps(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		const most = 8 << 10
		end := w.host(func(h *agent.Host) {
			h.OutputBytes, h.Capacity = most, 1
			h.Funcs["flood"] = func(_ context.Context, o agent.Options) error {
				for n := range 10_000 {
					fmt.Fprintf(o.Output, "%s#%d line %d\n", o.Agent, o.Incarnation, n)
				}
				return nil
			}
		})
		for n := range uint64(3) {
			w.start("g1", n+1, "flood")
			w.log("smith.event.agent.stopped.g1", int(n)+1)
		}
		sum := int64(0)
		for n := range uint64(3) {
			reply, lines, code := w.logs(contracts.LogsRequest{Agent: "g1", Incarnation: n + 1})
			if code != "" {
				continue
			}
			sum += reply.End - reply.At
			if last := fmt.Sprintf(" g1#%d line 9999", n+1); lines[len(lines)-1] != last || reply.Dropped < 100_000 || reply.Dropped+int64(len(lines)*len("2026-01-02T15:04:05.123Z g1#1 line 9999\n")) != reply.End {
				t.Errorf("of the flood: %+v, %d lines, the last %q", reply, len(lines), lines[len(lines)-1])
			}
		}
		if sum > most || sum < most/2 {
			t.Errorf("%d bytes are kept, of %d", sum, most)
		}
		for _, name := range []string{"g2", "g3"} {
			w.start(name, 1, "flood")
			w.log("smith.event.agent.stopped."+name, 1)
		}
		if _, _, code := w.logs(contracts.LogsRequest{Agent: "g1"}); code != contracts.CodeNotFound {
			t.Error("the output of all agents that ever ended is kept")
		}
		forget := contracts.ForgetCommand{Tree: "main", Agents: []string{"g2", "g3", "unheard-of"}}
		w.start("g2", 2, "flood", func(c *contracts.StartCommand) { c.Tree = "main" })
		w.log("smith.event.agent.stopped.g2", 2)
		w.wantCode("forget", ask[contracts.RunnerReply](w, contracts.RunnerSubject("h", "forget"), forget), contracts.RunnerOK)
		if _, _, code := w.logs(contracts.LogsRequest{Agent: "g2"}); code != contracts.CodeNotFound {
			t.Error("the output of an agent that is no longer in the tree is kept")
		}
		if _, _, code := w.logs(contracts.LogsRequest{Agent: "g3"}); code != "" {
			t.Error("the output of another tree's agent is gone")
		}
		list := ask[contracts.RunnerList](w, contracts.RunnerSubject("h", "list"), nil)
		if !list.Agents[1].Removed || list.Agents[2].Removed {
			t.Errorf("list %+v", list)
		}
		w.wantCode("a start that comes late", w.start("g2", 2, "flood"), contracts.RunnerAlreadyExited)
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// Who waits for output when the host ends gets an answer, and holds nothing up.
func TestHostEndsThoughOutputIsWaitedFor(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		w := newWorld(t)
		end := w.host()
		w.start("g1", 1, "silent")
		body, err := json.Marshal(contracts.LogsRequest{Agent: "g1", Wait: contracts.Duration(contracts.MaxLogsWait)})
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan error)
		const readers = 70 // more than are served at once
		for range readers {
			go func() {
				msg, err := w.nc.RequestWithContext(w.soon(), contracts.RunnerSubject("h", "logs"), body)
				if err == nil && msg.Header.Get(micro.ErrorCodeHeader) == contracts.CodeInternal {
					err = nats.ErrMaxSubscriptionsExceeded // stands for: refused
				}
				answers <- err
			}()
		}
		refused := 0
		for range readers - 64 {
			if err := <-answers; err != nil {
				refused++
			}
		}
		begin := time.Now()
		if err := end(); err != nil {
			t.Error(err)
		}
		for range 64 {
			if err := <-answers; err != nil {
				t.Errorf("a reader that waited: %v", err)
			}
		}
		if got := time.Since(begin); refused != readers-64 || got > time.Second {
			t.Errorf("%d were refused; the end took %s", refused, got)
		}
	})
}
