package shell_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/capture"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestRequestsThatCannotBeUnderstood are counted, and reported with their cause;
// what is refused for another reason, and what is answered, is not. A flood of
// them is one report, and no line in the log.
func TestRequestsThatCannotBeUnderstood(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, env := withStreams(t, "router")
		var logged capture.Buffer
		env.Log = slog.New(slog.NewJSONHandler(&logged, nil))
		metrics := prometheus.NewRegistry()
		env.Metrics = metrics
		api, err := shell.NewAPI(t.Context(), env, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer api.Stop(t.Context())
		refuse := func(n int) error {
			switch n {
			case 0:
				return nil
			case 1:
				return shell.Errorf(contracts.CodeConflict, "not now")
			case 2:
				return errors.New("broken")
			}
			return shell.Errorf(contracts.CodeBadRequest, "n: %d is too many, hunter2", n)
		}
		raw := func(r micro.Request) error {
			if len(r.Data()) == 0 {
				return r.Respond(nil)
			}
			return refuse(len(r.Data()))
		}
		err = errors.Join(
			shell.Handle(api, "double", func(_ context.Context, req ask) (ask, error) { return req, refuse(req.N) }),
			api.HandleRaw("raw", raw),
		)
		if err != nil {
			t.Fatal(err)
		}
		env.Ready()
		nc := s.Connect(t)
		counted := 0.0
		const alone = ": refused with code 400; the text went to the requester alone, because it may quote the request"
		for _, c := range []struct {
			verb, reply, body, cause string // without a cause nothing is to be reported
			lines                    int
		}{
			{verb: "double", reply: "_INBOX.x", body: `{`, cause: "smith.router.double: the request is not the JSON expected: a syntax error at byte 1"},
			{verb: "double", reply: "_INBOX.x", body: `{"n":"hunter2"}`, cause: "smith.router.double: the request is not the JSON expected: a string at byte 14, where int is expected"},
			{verb: "double", reply: "_INBOX.x", body: `{"n":4711.5}`, cause: "smith.router.double: the request is not the JSON expected: a number at byte 11, where int is expected"},
			{verb: "double", reply: "_INBOX.x", body: strings.Repeat("x", contracts.MaxRequestBytes+1), cause: "smith.router.double: the request has 262145 bytes; at most 262144"},
			{verb: "double", reply: "_INBOX.x", body: `{"n":3}`, cause: "smith.router.double" + alone},
			{verb: "double", reply: "$JS.API.STREAM.DELETE.SMITH_EVENTS", body: `{}`, cause: `smith.router.double: the reply subject "$JS.API.STREAM.DELETE.SMITH_EVENTS" is no inbox; send it as a request`},
			{verb: "double", reply: "smith.x", body: `{}`, cause: `smith.router.double: the reply subject "smith.x" is no inbox; send it as a request`},
			{verb: "double", body: `{}`, cause: `smith.router.double: the reply subject "" is no inbox; send it as a request`},
			{verb: "raw", body: `{}`, cause: `smith.router.raw: the reply subject "" is no inbox; send it as a request`},
			{verb: "raw", reply: "_INBOX.x", body: "xxx", cause: "smith.router.raw" + alone},
			{verb: "raw", reply: "_INBOX.x", body: strings.Repeat("x", contracts.MaxRequestBytes+1), cause: "smith.router.raw: the request has 262145 bytes; at most 262144"},
			{verb: "double", reply: "_INBOX.x", body: `{"n":1}`},
			{verb: "double", reply: "_INBOX.x", body: `{"n":2}`, lines: 3},
			{verb: "double", reply: "_INBOX.x", body: ``},
			{verb: "raw", reply: "_INBOX.x", body: ``},
			{verb: "raw", reply: "_INBOX.x", body: `x`},
		} {
			before := len(rejections(t, s))
			for range 3 {
				msg := nats.Msg{Subject: "smith.router." + c.verb, Reply: c.reply, Data: []byte(c.body)}
				if err := nc.PublishMsg(&msg); err != nil {
					t.Fatal(err)
				}
			}
			<-time.After(20 * time.Second)
			reports := rejections(t, s)[before:]
			if c.cause == "" {
				if len(reports) > 0 {
					t.Errorf("%s: reported %+v", c.body, reports)
				}
			} else {
				counted += 3
				want := contracts.SystemRejectedData{Service: "router", Origin: "smith.router." + c.verb, Size: len(c.body), Cause: c.cause}
				if len(reports) == 1 {
					reports[0].Suppressed = 0 // those before it
				}
				if len(reports) != 1 || reports[0] != want {
					t.Errorf("reported %+v, want %+v", reports, want)
				}
			}
			synctest.Wait()
			if said := strings.Count(logged.String(), "\n"); said != c.lines {
				t.Errorf("%s %.20s: %d lines logged, want %d:\n%s", c.verb, c.body, said, c.lines, logged.String())
			}
			logged.Reset()
		}
		want := fmt.Sprintf(`
# HELP smith_messages_rejected_total Messages that could not be understood and were set aside.
# TYPE smith_messages_rejected_total counter
smith_messages_rejected_total{kind="request",service="router"} %v
`, counted)
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "smith_messages_rejected_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalsQuoteNothing: a handler's text, which quotes what was sent, reaches
// the requester alone, not the log of events and no line of the program's.
func TestRefusalsQuoteNothing(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, env := withStreams(t, "router")
		var logged capture.Buffer
		env.Log = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		api, err := shell.NewAPI(t.Context(), env, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer api.Stop(t.Context())
		type start struct{ Command string }
		err = errors.Join(
			shell.Handle(api, "rehearse", func(_ context.Context, req start) (ask, error) {
				return ask{}, fmt.Errorf("start: %w", shell.Errorf(contracts.CodeBadRequest, "command: %q: a list is wanted", req.Command))
			}),
			api.HandleRaw("replay", func(r micro.Request) error {
				return shell.Errorf(contracts.CodeBadRequest, "%s: %s", r.Subject(), r.Data())
			}),
		)
		if err != nil {
			t.Fatal(err)
		}
		env.Ready()
		nc := s.Connect(t)
		for _, verb := range []string{"rehearse", "replay"} {
			_, err := shell.Call[ask](t.Context(), nc, "smith.router."+verb, start{"./agent --api-key hunter2"})
			if err == nil || !strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: the requester was told %v", verb, err)
			}
			<-time.After(20 * time.Second)
		}
		synctest.Wait()
		if reports := rejections(t, s); len(reports) != 2 || strings.Contains(fmt.Sprint(reports), "hunter2") {
			t.Errorf("reported %+v", reports)
		}
		if said := logged.String(); !strings.Contains(said, "message rejected") || strings.Contains(said, "hunter2") {
			t.Errorf("logged %s", said)
		}
	})
}

// TestTooManyRequests: one that finds no place is no bad one, however large.
func TestTooManyRequests(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, env := withStreams(t, "router")
		api, err := shell.NewAPI(t.Context(), env, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer api.Stop(t.Context())
		release := make(chan struct{})
		err = shell.Handle(api, "slow", func(context.Context, ask) (ask, error) {
			<-release
			return ask{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		env.Ready()
		nc := s.Connect(t)
		for range 64 {
			if err := nc.PublishRequest("smith.router.slow", "_INBOX.x", nil); err != nil {
				t.Fatal(err)
			}
		}
		_, err = shell.Call[ask](t.Context(), nc, "smith.router.slow", strings.Repeat("x", contracts.MaxRequestBytes))
		var no *shell.APIError
		if !errors.As(err, &no) || no.Code != contracts.CodeNotReady {
			t.Errorf("refused with %v", err)
		}
		close(release)
		<-time.After(20 * time.Second)
		if reports := rejections(t, s); len(reports) > 0 {
			t.Errorf("reported %+v", reports)
		}
	})
}

// rejections gives what was reported, in order.
func rejections(t *testing.T, s *natstest.Server) []contracts.SystemRejectedData {
	t.Helper()
	var got []contracts.SystemRejectedData
	for _, msg := range natstest.Messages(t, natstest.JetStream(t, s.Connect(t)), contracts.EventStream) {
		ev, err := contracts.DecodeEvent(msg.Subject, msg.Data)
		if err != nil || ev.Type != contracts.SystemMessageRejected {
			continue
		}
		data, err := contracts.DecodeData[contracts.SystemRejectedData](ev)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, data)
	}
	return got
}
