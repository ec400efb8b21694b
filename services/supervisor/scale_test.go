package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestScaleAndMove(t *testing.T) {
	inWorld(t, `
supervision_tree:
  tree:
    - name: pool
      strategy: one_for_one
      children:
        - {name: w, count: 2, command: [x], env: {KEY: value}}
        - {name: single, command: [x]}
    - name: rest
      strategy: one_for_all
      children:
        - {name: r, command: [x]}
`, func(t *testing.T, w *world) {
		stop := w.up()
		w.want("scale", w.refusal("scale", contracts.ScaleRequest{Template: "w", Count: 4, Reason: "backlog"}), "ok")
		first, err := ask[contracts.OrderReply](w, "scale", contracts.ScaleRequest{Template: "w", Count: 5, OrderOptions: contracts.OrderOptions{Wait: contracts.Duration(100 * time.Millisecond)}})
		if err != nil || !first.UnderWay || first.Left != 1 || !strings.HasPrefix(first.Awaits, "w-5 ") {
			t.Errorf("while the new one comes up: %+v, %v", first, err)
		}
		again, err := ask[contracts.OrderReply](w, "scale", contracts.ScaleRequest{Template: "w", Count: 5, OrderOptions: contracts.OrderOptions{Token: first.Token}})
		if err != nil || !again.OK || again.UnderWay {
			t.Errorf("when it is asked again: %+v, %v", again, err)
		}
		w.want("fewer", w.refusal("scale", contracts.ScaleRequest{Template: "w", Count: 4}), "ok")
		w.want("move", w.refusal("move", contracts.MoveRequest{Node: "single", Parent: "rest"}), "ok")
		const after = "root running, pool running, w-1 running 1, w-2 running 1, w-3 running 1, w-4 running 1, rest running, r running 1, single running 1"
		w.want("after", w.settled(), after)
		w.want("environment", strings.Join([]string{w.runner.envs["w-1"]["KEY"], w.runner.envs["w-4"]["KEY"]}, " "), "value value")
		stop()
		stop = w.supervise("s2")
		w.want("with a new supervisor", w.settled(), after)
		w.want("the count by order", fmt.Sprint(w.tree().Root.Children[0].Scaled), "[{w 4 2}]")
		w.want("down", w.refusal("scale", contracts.ScaleRequest{Template: "w", Count: 1}), "ok")
		w.settled()
		stop()
		w.supervise("s3")
		w.want("down", w.settled(), "root running, pool running, w-1 running 1, rest running, r running 1, single running 1")

		for _, c := range []struct {
			verb string
			req  any
			want string
		}{
			{"scale", contracts.ScaleRequest{Template: "nobody", Count: 1}, contracts.CodeNotFound},
			{"scale", contracts.ScaleRequest{Template: "single", Count: 1}, contracts.CodeNotFound},
			{"scale", contracts.ScaleRequest{Template: "w", Count: 0}, contracts.CodeBadRequest},
			{"scale", contracts.ScaleRequest{Template: "w", Count: 10_001}, contracts.CodeBadRequest},
			{"scale", contracts.ScaleRequest{Template: "w.x", Count: 1}, contracts.CodeBadRequest},
			{"scale", contracts.ScaleRequest{Template: strings.Repeat("w", 64), Count: 1}, contracts.CodeBadRequest},
			{"move", contracts.MoveRequest{Node: "nobody", Parent: "pool"}, contracts.CodeNotFound},
			{"move", contracts.MoveRequest{Node: "r", Parent: "nobody"}, contracts.CodeNotFound},
			{"move", contracts.MoveRequest{Node: "root", Parent: "pool"}, contracts.CodeBadRequest},
			{"move", contracts.MoveRequest{Node: "rest", Parent: "rest"}, contracts.CodeBadRequest},
			{"move", contracts.MoveRequest{Node: "r", Parent: "*"}, contracts.CodeBadRequest},
		} {
			if got := w.refusal(c.verb, c.req); got != c.want {
				t.Errorf("%s %+v: %s, want %s", c.verb, c.req, got, c.want)
			}
		}
	})
}
