package router_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/router"
)

// works knows who works on what, and finds a task that two live agents have.
type works struct {
	mu sync.Mutex
	by map[string]string
}

func (ws *works) begin(t *testing.T, a *agent, task string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if other, ok := ws.by[task]; ok && other != a.id {
		t.Errorf("%s begins %s while %s works on it", a.id, task, other)
	}
	ws.by[task] = a.id
}

func (ws *works) end(task, agent string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.by[task] == agent {
		delete(ws.by, task)
	}
}

func (ws *works) died(agent string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for task, by := range ws.by {
		if by == agent {
			delete(ws.by, task)
		}
	}
}

// TestChaos kills agents and routers at random while tasks flow.
func TestChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				ws := &works{by: map[string]string{}}
				var agents []*agent
				for i, kind := range []string{"coder", "coder", "coder", "researcher", "researcher"} {
					a := w.agent(fmt.Sprintf("a%d", i), kind, 1+i%3, 400*time.Millisecond)
					a.mu.Lock()
					a.begins = func(task string) { ws.begin(t, a, task) }
					a.result = func(d contracts.TaskDispatch) contracts.TaskResultData {
						ws.end(d.Task, a.id)
						return contracts.TaskResultData{Result: []byte(`1`)}
					}
					a.mu.Unlock()
					agents = append(agents, a)
				}
				cfg := router.Config{}
				cfg.Scheduling.MaxAttempts = 1000
				r := w.route("r0", cfg)
				submitted := 0
				for n := range 50 {
					for range rnd.IntN(8) {
						w.submit(contracts.Task{ID: fmt.Sprintf("t%d", submitted), Type: []string{"code", "research"}[rnd.IntN(2)]})
						submitted++
					}
					switch a := agents[rnd.IntN(len(agents))]; rnd.IntN(6) {
					case 0:
						a.halt()
						ws.died(a.id)
						a.die()
						pass(time.Duration(rnd.IntN(300)) * time.Millisecond)
						a.start()
					case 1:
						w.kill(r)
						r = w.route(fmt.Sprintf("r%d", n+1), cfg)
					case 2:
						w.stop(r)
						r = w.route(fmt.Sprintf("r%d", n+1), cfg)
					}
					pass(time.Duration(rnd.IntN(400)) * time.Millisecond)
				}
				w.until("all completed", 5*time.Minute, func() bool { return w.view().Completed == uint64(submitted) })
				w.until("the queue is empty", time.Minute, func() bool { return w.waiting() == 0 })
				for _, a := range agents {
					if _, most, _ := a.load(); most > a.capacity {
						t.Errorf("%s worked on %d at once, its capacity is %d", a.id, most, a.capacity)
					}
				}
				if v := w.view(); v.Submitted != uint64(submitted) || v.DeadLettered != 0 || v.Reassigned == 0 {
					t.Errorf("%d submitted, %+v", submitted, v)
				}
			})
		})
	}
}
