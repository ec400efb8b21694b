package router_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

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
		w.submitMany(30, "code")
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
		w.submitMany(5, "paint")
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
