package keeper

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// orderOf reads a request's body as the API does.
func orderOf[Req any](read func(Req) (tree.Input, error)) func(body []byte) (tree.Input, error) {
	return func(body []byte) (tree.Input, error) {
		var req Req
		if err := json.Unmarshal(body, &req); err != nil {
			return tree.Input{}, shell.Errorf(contracts.CodeBadRequest, "%v", err)
		}
		return read(req)
	}
}

// small is a tree with an agent that runs, instances of a template, and
// a supervisor that is not enforced.
func small(t testing.TB) *tree.Tree {
	agent := func(id, parent string) *tree.Spec {
		return &tree.Spec{ID: id, Parent: parent, Agent: &tree.Agent{}, ShutdownTimeout: time.Second}
	}
	supervisor := func(id, parent string) *tree.Spec {
		return &tree.Spec{ID: id, Parent: parent, Supervisor: &tree.Supervisor{Strategy: tree.OneForOne, MaxRestarts: 3, Period: time.Minute}}
	}
	shadow := supervisor("shadow", "root")
	shadow.Mode = &tree.Rollout{Enforce: 50, Otherwise: tree.Shadow}
	specs := []*tree.Spec{supervisor("root", ""), supervisor("web", "root"), agent("a", "web"), shadow}
	for i := range 4 {
		w := agent(tree.Instance("w", i+1), "shadow")
		w.Template, w.Index, w.Instances = "w", i+1, 4
		specs = append(specs, w)
	}
	for i, s := range specs {
		s.Rank = int64(i + 1)
	}
	tr := tree.New(tree.Options{})
	step(t, tr, tree.Input{Kind: tree.Configure, Specs: specs, Boot: true})
	return tr
}

// step takes an input and whatever its effects lead to, and gives the replies.
func step(t testing.TB, tr *tree.Tree, in tree.Input) (replies []tree.Effect) {
	queue := []tree.Input{in}
	for len(queue) > 0 {
		in, queue = queue[0], queue[1:]
		for _, e := range tr.Step(&in, 1_700_000_000_000_000_000, nil) {
			switch e.Kind {
			case tree.DoStart:
				queue = append(queue, tree.Input{Kind: tree.Started, Node: e.Node, Incarnation: e.Incarnation})
			case tree.DoStop:
				queue = append(queue, tree.Input{Kind: tree.Stopped, Node: e.Node, Incarnation: e.Incarnation})
			case tree.DoReply:
				if e.Token != "" { // not what one order makes of others
					replies = append(replies, e)
				}
			}
		}
	}
	if s := tr.Snapshot(); s.Validate() != nil {
		t.Fatalf("after %s of %s: %v", in.Command, in.Node, s.Validate())
	}
	return replies
}

// FuzzOrders: whatever operators send, it is refused as a bad request, or is an
// order that the tree answers once and that leaves it sound.
func FuzzOrders(f *testing.F) {
	for verb, bodies := range map[string][]string{
		"mode": {
			`{"node":"shadow","mode":"enforce","percent":25,"otherwise":"off","reason":"week two"}`,
			`{"node":"root","mode":"off"}`, `{"node":"a","mode":"shadow"}`, `{"node":"shadow","mode":"inherit"}`,
			`{"node":"shadow","mode":"enforce","percent":-1}`, `{"node":"shadow","mode":"enforce","percent":1e99}`,
			`{"node":"a","mode":"shadow","otherwise":"shadow"}`, `{"node":"a"}`, `{"mode":"off"}`, `[]`, `null`, ``,
		},
		"scale":     {`{"template":"w","count":2}`, `{"template":"w","count":10000}`, `{"template":"w","count":-1}`, `{"template":"nobody","count":1}`},
		"move":      {`{"node":"a","parent":"shadow"}`, `{"node":"root","parent":"web"}`, `{"node":"web","parent":"a"}`, `{"node":"shadow","parent":"shadow"}`},
		"remove":    {`{"node":"a","reason":"\u0000"}`, `{"node":"root"}`},
		"restart":   {`{"node":"root"}`, `{"node":"w-1"}`, `{"node":"a.b"}`},
		"terminate": {`{"node":"web"}`, `{"node":7}`},
		"suspend":   {`{"node":"shadow"}`, `{"node":"a"}`},
		"resume":    {`{"node":"web"}`, `{}`, `{"node":"web","reason":"` + strings.Repeat("…", 100) + `"}`},
	} {
		for _, body := range bodies {
			f.Add(verb, []byte(body))
		}
	}
	read := map[string]func([]byte) (tree.Input, error){
		"mode": orderOf(modeOrder), "scale": orderOf(scaleOrder), "move": orderOf(moveOrder),
		"remove": orderOf(nodeOrder(tree.CmdRemove)), "restart": orderOf(nodeOrder(tree.CmdRestart)), "terminate": orderOf(nodeOrder(tree.CmdTerminate)),
		"suspend": orderOf(nodeOrder(tree.CmdSuspend)), "resume": orderOf(nodeOrder(tree.CmdResume)),
	}
	f.Fuzz(func(t *testing.T, verb string, body []byte) {
		if read[verb] == nil || len(body) > contracts.MaxRequestBytes {
			return
		}
		in, err := read[verb](body)
		if err != nil {
			var no *shell.APIError
			if !errors.As(err, &no) || no.Code != contracts.CodeBadRequest || no.Message == "" {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if contracts.ValidateID(in.Node) != nil || len(in.Reason) > 100+maxReason || !utf8.ValidString(in.Reason) {
			t.Fatalf("accepted %+v", in)
		}
		if in.Mode != nil && in.Mode.Validate() != nil {
			t.Fatalf("accepted mode %+v", in.Mode)
		}
		in.Kind, in.Token = tree.Order, "token"
		if replies := step(t, small(t), in); len(replies) != 1 {
			t.Fatalf("%+v is answered by %+v", in, replies)
		}
	})
}
