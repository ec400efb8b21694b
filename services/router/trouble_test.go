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

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
	"github.com/mistersmith/mistersmith/services/router/internal/scheduler"
)

func TestSlowAgentGetsLess(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		slow := w.agent("slow", "coder", 1, 10*time.Second)
		fast := w.agent("fast", "coder", 1, time.Second)
		pass(100 * time.Millisecond)
		for i := range 30 {
			w.submit(contracts.Task{ID: fmt.Sprintf("t%d", i), Type: "code"})
		}
		w.until("all completed", time.Minute, func() bool { return w.view().Completed == 30 })
		_, _, byslow := slow.load()
		_, _, byfast := fast.load()
		if len(byslow) > 4 || len(byfast) < 26 {
			t.Fatalf("slow did %d, fast %d", len(byslow), len(byfast))
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(a *agent){
		"no responders": func(a *agent) { a.answer, a.nc = nil, nil },
		"no reply": func(a *agent) {
			a.answer = func(contracts.TaskDispatch) ([]byte, bool) { return nil, true }
		},
		"refused": func(a *agent) {
			a.answer = func(contracts.TaskDispatch) ([]byte, bool) {
				return []byte(`{"accepted":false,"reason":"full"}`), false
			}
		},
		"nonsense": func(a *agent) {
			a.answer = func(contracts.TaskDispatch) ([]byte, bool) { return []byte("+OK"), false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.route("r1", router.Config{Scheduling: scheduler.Config{MaxAttempts: 2}})
				deaf := &agent{w: w, nc: w.srv.Connect(t), id: "deaf", kind: "coder", capacity: 1, takes: time.Second}
				broken(deaf)
				if deaf.nc == nil { // beats, and has no ear
					for range 2 {
						body := []byte(`{"type":"coder","incarnation":1}`)
						if err := w.nc.Publish(contracts.HeartbeatSubject("deaf"), body); err != nil {
							t.Fatal(err)
						}
					}
				} else {
					deaf.start()
					t.Cleanup(deaf.halt)
				}
				pass(100 * time.Millisecond)
				w.submit(contracts.Task{ID: "t1", Type: "code"})
				pass(200 * time.Millisecond)
				good := w.agent("good", "coder", 1, time.Second)
				w.until("completed by the good one", 10*time.Second, func() bool {
					v := w.task("t1")
					return v.Status == "completed" && v.Agent == "good"
				})
				if _, _, runs := good.load(); len(runs) != 1 {
					t.Fatalf("good did %v", runs)
				}
			})
		})
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{Scheduling: scheduler.Config{MaxAttempts: 3}})
		a := w.agent("a", "coder", 1, time.Second)
		a.result = func(contracts.TaskDispatch) contracts.TaskResultData {
			return contracts.TaskResultData{Error: "it does not compile", Retry: true}
		}
		pass(100 * time.Millisecond)
		w.submit(contracts.Task{ID: "bad", Type: "code", Payload: []byte(`{"file":"x"}`)})
		w.until("dead", time.Minute, func() bool { return w.task("bad").Status == "dead" })
		pass(time.Second)
		set := w.dead("smith.dead.task.code")
		if len(set) != 1 {
			t.Fatalf("%d messages are set aside", len(set))
		}
		var dead contracts.TaskDeadData
		if err := json.Unmarshal(set[0].Data, &dead); err != nil {
			t.Fatal(err)
		}
		if dead.Task != "bad" || len(dead.Attempts) != 3 || string(dead.Payload) != `{"file":"x"}` ||
			!strings.Contains(dead.Attempts[0].Error, "it does not compile") {
			t.Fatalf("set aside as %+v", dead)
		}
		events := w.log(contracts.TaskDeadLettered, contracts.TaskFailed)
		if len(events) != 4 || events[3].Type != contracts.TaskDeadLettered || events[3].CausationID != events[2].ID {
			t.Fatalf("events %+v", events)
		}
		if v := w.task("bad"); len(v.History) != 3 || v.Error == "" {
			t.Fatalf("status %+v", v)
		}
		if v := w.view(); v.Failed != 3 || v.DeadLettered != 1 || w.waiting() != 0 {
			t.Fatalf("view %+v, %d queued", v, w.waiting())
		}
		a.result = nil
		w.submit(contracts.Task{ID: "good", Type: "code"})
		w.until("the next one works", 10*time.Second, func() bool { return w.task("good").Status == "completed" })
	})
}

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
			t.Log(m.subject, shorten(m.body))
			before := len(w.dead(m.aside))
			if _, err := w.js.Publish(context.Background(), m.subject, []byte(m.body)); err != nil {
				t.Fatal(err)
			}
			w.until("set aside", 20*time.Second, func() bool { return len(w.dead(m.aside)) == before+1 })
			all := w.dead(m.aside)
			if got := all[len(all)-1].Data; !bytes.Equal(got, []byte(m.body)) {
				t.Fatalf("set aside as %s", shorten(string(got)))
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

func shorten(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return s
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
		w.route("r1", router.Config{})
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
				t.Errorf("%s %s: %v", tc.verb, shorten(fmt.Sprint(tc.body)), err)
			}
		}
		if n := w.waiting(); n != 0 {
			t.Fatalf("%d messages are queued", n)
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

func TestNobodyCanDoIt(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		w.agent("a", "coder", 1, time.Second)
		reply := w.submit(contracts.Task{ID: "t1", Type: "paint"})
		if !strings.Contains(reply.Warning, `"paint"`) {
			t.Fatalf("reply %+v", reply)
		}
		w.submit(contracts.Task{ID: "t2", Type: "paint"})
		pass(time.Minute)
		events := w.log(contracts.SystemPoolExhausted)
		if len(events) != 1 || !strings.Contains(string(events[0].Data), `agents/paint`) {
			t.Fatalf("events %+v", events)
		}
		if v := w.task("t1"); v.Status != "queued" {
			t.Fatalf("status %+v", v)
		}
		for _, ty := range w.view().Types {
			if ty.Type == "paint" && (ty.Queued != 2 || ty.Able != 0) {
				t.Fatalf("type %+v", ty)
			}
		}
		w.agent("p", "paint", 1, time.Second)
		w.until("done", 20*time.Second, func() bool { return w.view().Completed == 2 })
	})
}

func TestMaximumQueueAge(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{Scheduling: scheduler.Config{MaxQueueAge: time.Minute}})
		for i := range 5 {
			w.submit(contracts.Task{ID: fmt.Sprintf("t%d", i), Type: "paint"})
		}
		pass(50 * time.Second)
		w.submit(contracts.Task{ID: "young", Type: "paint"})
		pass(25 * time.Second)
		if n := len(w.dead("smith.dead.task.paint")); n != 5 {
			t.Fatalf("%d tasks are set aside, want 5", n)
		}
		if v := w.task("t0"); v.Status != "dead" || !strings.Contains(v.Error, "waited longer") {
			t.Fatalf("status %+v", v)
		}
		w.agent("p", "paint", 1, time.Second)
		w.until("the young one is done", 20*time.Second, func() bool { return w.task("young").Status == "completed" })
	})
}

func TestAgentsByPage(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		for i := range 7 {
			body := fmt.Sprintf(`{"type":"%s"}`, []string{"coder", "tester"}[i%2])
			if err := w.nc.Publish(contracts.HeartbeatSubject(fmt.Sprint("a", i)), []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		var got []string
		for req := (contracts.AgentsRequest{Limit: 2, Type: "coder"}); ; {
			v, err := call[contracts.RouterView](w, "agents", req)
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Agents) == 0 {
				break
			}
			for _, a := range v.Agents {
				got = append(got, a.Agent)
				req.After = a.Agent
			}
		}
		if fmt.Sprint(got) != "[a0 a2 a4 a6]" {
			t.Fatalf("pages gave %v", got)
		}
	})
}

func TestDefaultAgent(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{Scheduling: scheduler.Config{DefaultAgent: "jack"}})
		w.agent("jack", "generalist", 1, time.Second)
		w.submit(contracts.Task{ID: "t1", Type: "paint"})
		w.until("done", time.Minute, func() bool { return w.task("t1").Agent == "jack" && w.task("t1").Status == "completed" })
	})
}

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "killed", "hung"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				a := w.agent("a", "coder", 2, 2*time.Second)
				first := w.route("r1", router.Config{})
				w.route("r2", router.Config{})
				for i := range 20 {
					w.submit(contracts.Task{ID: fmt.Sprintf("t%d", i), Type: "code"})
				}
				pass(3 * time.Second)
				switch how {
				case "stopped":
					w.stop(first)
				case "killed":
					w.kill(first)
				case "hung":
					// The server keeps the subscriptions and nothing is heard.
					first.nc.SetClosedHandler(nil)
					w.hang(first)
				}
				w.until("all completed", 2*time.Minute, func() bool {
					v, err := call[contracts.RouterView](w, "agents", nil)
					return err == nil && v.Completed == 20
				})
				w.until("the queue is empty", time.Minute, func() bool { return w.waiting() == 0 })
				if _, most, runs := a.load(); len(runs) != 20 || most > 2 {
					t.Fatalf("%d runs, %d at once: %v", len(runs), most, runs)
				}
			})
		})
	}
}

// hang takes the lease away as if the router had been paused for too long.
func (w *world) hang(*instance) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	kv, err := w.js.KeyValue(ctx, contracts.StateBucket)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := kv.Get(ctx, contracts.RouterStateKey)
	if err != nil {
		w.t.Fatal(err)
	}
	var head map[string]any
	if err := json.Unmarshal(e.Value(), &head); err != nil {
		w.t.Fatal(err)
	}
	head["owner"] = "r2"
	body, _ := json.Marshal(head)
	if _, err := kv.Update(ctx, contracts.RouterStateKey, body, e.Revision()); err != nil {
		w.t.Fatal(err)
	}
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.route("r1", router.Config{})
		var agents []*agent
		for i := range 3 {
			agents = append(agents, w.agent(fmt.Sprintf("a%d", i), "coder", 2, 2*time.Second))
		}
		for i := range 40 {
			w.submit(contracts.Task{ID: fmt.Sprintf("t%d", i), Type: "code"})
		}
		pass(3 * time.Second)
		w.srv.Down()
		pass(5 * time.Second)
		w.srv.Up(t)
		w.until("connected", time.Minute, func() bool { return w.nc.Status() == nats.CONNECTED })
		w.until("all completed", 5*time.Minute, func() bool {
			v, err := call[contracts.RouterView](w, "agents", nil)
			return err == nil && v.Completed == 40
		})
		w.until("the queue is empty", time.Minute, func() bool { return w.waiting() == 0 })
		total := 0
		for _, a := range agents {
			_, most, runs := a.load()
			total += len(runs)
			if most > 2 {
				t.Errorf("%s worked on %d at once", a.id, most)
			}
		}
		if total < 40 {
			t.Errorf("%d runs", total)
		}
		for task, n := range w.completions() {
			if n != 1 {
				t.Errorf("%s was completed %d times", task, n)
			}
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

func TestUnusableSnapshotIsRebuiltFromTheLog(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		a := w.agent("a", "coder", 1, 2*time.Second)
		r := w.route("r1", router.Config{})
		for i := range 5 {
			w.submit(contracts.Task{ID: fmt.Sprintf("t%d", i), Type: "code"})
		}
		pass(5 * time.Second)
		w.stop(r)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		kv, err := w.js.KeyValue(ctx, contracts.StateBucket)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kv.ListKeysFiltered(ctx, "router.>")
		if err != nil {
			t.Fatal(err)
		}
		parts := 0
		for key := range keys.Keys() {
			parts++
			if _, err := kv.Put(ctx, key, []byte("spoilt")); err != nil {
				t.Fatal(err)
			}
		}
		if parts == 0 {
			t.Fatal("there was no snapshot")
		}
		w.route("r2", router.Config{})
		w.until("all completed", time.Minute, func() bool { return w.view().Completed == 5 })
		if _, _, runs := a.load(); len(runs) != 5 {
			t.Fatalf("ran %v", runs)
		}
	})
}
