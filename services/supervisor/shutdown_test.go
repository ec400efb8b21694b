package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestShutdownTimeout: what a supervisor has below it is down within the
// supervisor's own time, over a change of supervisors too.
func TestShutdownTimeout(t *testing.T) {
	inWorld(t, `
supervision_tree:
  tree:
    - name: sup
      strategy: one_for_all
      shutdown_timeout: 10s
      children:
        - {name: a, command: [x]}
        - {name: b, command: [x]}
        - {name: c, command: [x]}
        - {name: d, command: [x]}
`, func(t *testing.T, w *world) {
		stop := w.up()
		w.runner.slow["d"], w.runner.slow["c"] = 4*time.Second, 4*time.Second
		w.runner.slow["b"], w.runner.slow["a"] = 4*time.Second, 4*time.Second
		begin := time.Now()
		order := contracts.NodeRequest{Node: "sup", OrderOptions: contracts.OrderOptions{Token: "order-1"}}
		told := make(chan contracts.OrderReply, 1)
		terminate := func() {
			reply, err := ask[contracts.OrderReply](w, "terminate", order)
			if err != nil {
				t.Error(err)
			}
			told <- reply
		}
		go terminate()
		<-time.After(6 * time.Second)
		w.want("so far", w.runner.takeLog(), "stop d 1")
		short := order
		short.Wait = contracts.Duration(time.Second)
		if reply, err := ask[contracts.OrderReply](w, "terminate", short); err != nil || !reply.UnderWay || reply.Left != 3 || reply.Status != contracts.NodeStopping {
			t.Errorf("after 7 s: %+v, %v", reply, err)
		}
		stop()
		if reply := <-told; !reply.UnderWay || !strings.Contains(reply.Warning, "s1 ends before it is done") {
			t.Errorf("answered %+v", reply)
		}
		w.supervise("s2")
		go terminate() // the successor knows the order by its token
		w.want("it is down", w.settled(), "root running, sup stopped, a stopped 1, b stopped 1, c stopped 1, d stopped 1")
		w.want("in the end", w.runner.takeLog(), "stop c 1, kill b 1, kill a 1")
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
		if reply := <-told; !reply.OK || reply.UnderWay {
			t.Errorf("the successor answered %+v", reply)
		}
		terminate()
		if reply := <-told; !reply.OK || reply.UnderWay {
			t.Errorf("asked again when it was over: %+v", reply)
		}
		w.want("all is done once", w.runner.takeLog(), "")
	})
}
