package router_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
)

func TestBadTasksAreSetAside(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		r := w.route("r1", router.Config{})
		w.agent("a", "coder", 2, 100*time.Millisecond)
		pass(100 * time.Millisecond)
		huge := `{"payload":"` + strings.Repeat("x", contracts.MaxTaskBytes) + `"}`
		for _, m := range []struct{ subject, body, aside string }{
			{"smith.task.code", "{", "smith.dead.task.code"},
			{"smith.task.code", "just words", "smith.dead.task.code"},
			{"smith.task.code", `{"id":"a.b"}`, "smith.dead.task.code"},
			{"smith.task.code", `{"id":"` + strings.Repeat("x", 10<<10) + `"}`, "smith.dead.task.code"},
			{"smith.task.code", `{"type":"research"}`, "smith.dead.task.code"},
			{"smith.task.code", `{"timeout":5}`, "smith.dead.task.code"},
			{"smith.task.code", huge, "smith.dead.task.code"},
			{"smith.task.wörk", `{"payload":1}`, "smith.dead.task.invalid"},
			{"smith.task.code!", `{"payload":1}`, "smith.dead.task.invalid"},
		} {
			t.Log(m.subject, contracts.Clip(m.body, 60))
			before := len(w.dead(m.aside))
			if _, err := w.js.Publish(context.Background(), m.subject, []byte(m.body)); err != nil {
				t.Fatal(err)
			}
			w.until("set aside", 20*time.Second, func() bool { return len(w.dead(m.aside)) == before+1 })
			all := w.dead(m.aside)
			if got := all[len(all)-1].Data; !bytes.Equal(got, []byte(m.body)) {
				t.Fatalf("set aside as %s", contracts.Clip(string(got), 60))
			}
		}
		w.until("off the queue", 20*time.Second, func() bool { return w.waiting() == 0 })
		if n, err := testutil.GatherAndCount(r.metrics, "smith_messages_rejected_total"); err != nil || n != 1 {
			t.Fatalf("metric: %d %v", n, err)
		}
		events := w.log(contracts.SystemMessageRejected)
		if len(events) == 0 {
			t.Fatal("no event says so")
		}
		d, err := contracts.DecodeData[contracts.SystemRejectedData](events[0])
		if err != nil || d.Origin != "smith.task.code" || d.SetAside != "smith.dead.task.code" || !strings.Contains(d.Cause, "JSON") {
			t.Fatalf("%+v %v", d, err)
		}
		if _, err := w.js.Publish(context.Background(), "smith.task.code", []byte(`{"payload":1,"unknown":true}`)); err != nil {
			t.Fatal(err)
		}
		w.until("the good one is done", 10*time.Second, func() bool { return w.view().Completed == 1 })
	})
}

func TestTooLargeToQueueIsReported(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		if err := w.nc.Publish("smith.task.code", make([]byte, contracts.MaxTaskBytes+64<<10)); err != nil {
			t.Fatal(err)
		}
		w.until("reported", 5*time.Second, func() bool { return len(w.log(contracts.SystemMessageRejected)) == 1 })
	})
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		r := w.route("r1", router.Config{})
		for _, tc := range []struct {
			verb string
			body any
			code string
			says string
		}{
			{"submit", contracts.Task{Type: "a.b"}, contracts.CodeBadRequest, "type: invalid id"},
			{"submit", contracts.Task{Type: "*"}, contracts.CodeBadRequest, "type: invalid id"},
			{"submit", contracts.Task{Type: "code", ID: "a b"}, contracts.CodeBadRequest, "id: invalid id"},
			{"submit", contracts.Task{}, contracts.CodeBadRequest, "type: invalid id"},
			{"submit", "words", contracts.CodeBadRequest, "not the JSON expected"},
			{"submit", contracts.Task{Type: "code", Payload: []byte(`"` + strings.Repeat("x", contracts.MaxTaskBytes) + `"`)}, contracts.CodeTooLarge, "at most"},
			{"status", contracts.TaskRequest{}, contracts.CodeBadRequest, "task: invalid id"},
			{"status", contracts.TaskRequest{Task: "x"}, contracts.CodeNotFound, "not known"},
		} {
			_, err := call[json.RawMessage](w, tc.verb, tc.body)
			var refused *shell.APIError
			if !errors.As(err, &refused) || refused.Code != tc.code || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s %s: %v", tc.verb, contracts.Clip(fmt.Sprint(tc.body), 60), err)
			}
		}
		if n := w.waiting(); n != 0 {
			t.Fatalf("%d messages are queued", n)
		}
		pass(time.Second)
		const counted = `
# HELP smith_messages_rejected_total Messages that could not be understood and were set aside.
# TYPE smith_messages_rejected_total counter
smith_messages_rejected_total{kind="request",service="router"} 7
`
		if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(counted), "smith_messages_rejected_total"); err != nil {
			t.Error(err)
		}
		events := w.log(contracts.SystemMessageRejected)
		if len(events) != 1 { // one in ten seconds
			t.Fatalf("%d reports", len(events))
		}
		d, err := contracts.DecodeData[contracts.SystemRejectedData](events[0])
		if err != nil || d.Origin != "smith.router.submit" || d.Cause == "" || strings.Contains(d.Cause, "a.b") {
			t.Errorf("%+v %v", d, err)
		}
	})
}

func TestFullQueueRefuses(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{Streams: contracts.StreamOptions{MaxTasks: 3}})
		for i := range 20 {
			_, err := call[contracts.SubmitReply](w, "submit", contracts.Task{ID: fmt.Sprintf("t%d", i), Type: "code"})
			var refused *shell.APIError
			if full := errors.As(err, &refused) && refused.Code == contracts.CodeNotReady && strings.Contains(err.Error(), "maximum messages"); full != (i >= 3) {
				t.Fatalf("task %d: %v", i, err)
			}
		}
		w.agent("a", "coder", 1, time.Second)
		w.until("those that fitted are done", time.Minute, func() bool { return w.view().Completed == 3 })
		w.submit(contracts.Task{ID: "t3", Type: "code"})
		w.until("so is the one that came again", time.Minute, func() bool { return w.task("t3").Status == "completed" })
	})
}

func TestTheSameTaskTwiceIsOneTask(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		a := w.agent("a", "coder", 1, 5*time.Second)
		pass(100 * time.Millisecond)
		publish := func() {
			t.Helper()
			if _, err := w.js.Publish(context.Background(), "smith.task.code", []byte(`{"id":"t1","payload":1}`)); err != nil {
				t.Fatal(err)
			}
		}
		publish() // without a message id, as `nats pub` does
		pass(time.Second)
		publish()
		if reply := w.submit(contracts.Task{ID: "t1", Type: "code"}); !reply.Duplicate {
			t.Fatalf("reply %+v", reply)
		}
		w.until("done", time.Minute, func() bool { return w.task("t1").Status == "completed" })
		publish()
		if reply := w.submit(contracts.Task{ID: "t1", Type: "code"}); !reply.Duplicate {
			t.Fatalf("reply %+v", reply)
		}
		w.until("off the queue", time.Minute, func() bool { return w.waiting() == 0 })
		pass(20 * time.Second)
		if _, _, runs := a.load(); len(runs) != 1 {
			t.Fatalf("it ran as %v", runs)
		}
		if n := len(w.log(contracts.TaskSubmitted)); n != 1 {
			t.Fatalf("%d submissions are in the log", n)
		}
	})
}

func TestTaskWithoutIDGetsOne(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		w.agent("a", "coder", 1, time.Second)
		if err := w.nc.Publish("smith.task.code", []byte(`{"payload":{"n":1}}`)); err != nil {
			t.Fatal(err)
		}
		w.until("done", time.Minute, func() bool { return w.view().Completed == 1 })
		id := w.log(contracts.TaskCompleted)[0].CorrelationID
		if err := contracts.ValidateID(id); err != nil {
			t.Fatal(err)
		}
		if v := w.task(id); v.Status != "completed" {
			t.Fatalf("status %+v", v)
		}
	})
}

func TestGarbageInTheLogAndHeartbeats(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		for subject, body := range map[string]string{
			"smith.event.task.completed.code": "{",
			"smith.event.agent.failed.a":      `{"specversion":"1.0"}`,
			"smith.event.task.nonsense.x":     "?",
		} {
			if _, err := w.js.Publish(context.Background(), subject, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		for _, subject := range []string{"smith.heartbeat.a", "smith.heartbeat.b!"} {
			if err := w.nc.Publish(subject, []byte("{")); err != nil {
				t.Fatal(err)
			}
		}
		w.agent("a", "coder", 1, time.Second)
		w.submit(contracts.Task{ID: "t1", Type: "code"})
		w.until("done", time.Minute, func() bool { return w.task("t1").Status == "completed" })
	})
}
