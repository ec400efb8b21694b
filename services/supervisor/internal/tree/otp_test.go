package tree

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// otpNode, otpTrace and otpStep are the form of the recorded traces.
type otpNode struct {
	ID           string        `json:"id"`
	Kind         string        `json:"kind"`
	Restart      Restart       `json:"restart"`
	Significant  bool          `json:"significant"`
	Strategy     Strategy      `json:"strategy"`
	Intensity    int           `json:"intensity"`
	PeriodS      time.Duration `json:"period_s"`
	AutoShutdown AutoShutdown  `json:"auto_shutdown"`
	Children     []otpNode     `json:"children"`
}

type otpStep struct {
	Do         string `json:"do"`
	Child      string `json:"child"`
	Supervisor string `json:"supervisor"`
	Reason     string `json:"reason"`
	Fail       *struct {
		Child string `json:"child"`
		Times int    `json:"times"`
	} `json:"next_starts_fail"`
	Result string   `json:"result"`
	Did    []string `json:"did"`
	Alive  []string `json:"alive"`
}

type otpTrace struct {
	ID    int       `json:"id"`
	Tree  otpNode   `json:"tree"`
	Boot  []string  `json:"boot"`
	Steps []otpStep `json:"steps"`
}

// otpSpecs flattens a recorded tree, parents first.
func otpSpecs(n otpNode, parent string) []*Spec {
	s := &Spec{ID: n.ID, Parent: parent, Restart: n.Restart, Significant: n.Significant}
	if n.Kind == "worker" {
		s.Agent = &Agent{}
		return []*Spec{s}
	}
	s.Supervisor = &Supervisor{Strategy: n.Strategy, MaxRestarts: n.Intensity, Period: n.PeriodS * time.Second, AutoShutdown: n.AutoShutdown}
	out := []*Spec{s}
	for _, c := range n.Children {
		out = append(out, otpSpecs(c, n.ID)...)
	}
	return out
}

// otpWorld performs effects as Erlang's processes would: at once, in order.
type otpWorld struct {
	t      *testing.T
	tree   *Tree
	now    Instant
	fail   map[string]int
	did    []string
	result string
	// reload makes every step begin with a tree fresh from its JSON.
	reload bool
}

func (w *otpWorld) step(in Input) {
	queue := []Input{in}
	for len(queue) > 0 {
		if w.reload {
			w.tree = roundTrip(w.t, w.tree, OTP())
		}
		w.now++
		in, queue = queue[0], queue[1:]
		for _, e := range w.tree.Step(&in, w.now, nil) {
			switch e.Kind {
			case NoteBoot:
				w.did = append(w.did, "start "+e.Node)
			case DoStart:
				answer := Input{Kind: Started, Node: e.Node, Incarnation: e.Incarnation}
				word := "start "
				if w.fail[e.Node] > 0 {
					w.fail[e.Node]--
					answer.Kind, word = StartFailed, "start_failed "
				}
				w.did = append(w.did, word+e.Node)
				queue = append(queue, answer)
			case DoStop:
				w.did = append(w.did, "stop "+e.Node)
				queue = append(queue, Input{Kind: Stopped, Node: e.Node, Incarnation: e.Incarnation})
			case DoReply:
				w.result = string(e.Result)
			}
		}
	}
}

func (w *otpWorld) alive() []string {
	out := []string{}
	var walk func(n *node)
	walk = func(n *node) {
		if n.st.Phase != Running {
			return
		}
		out = append(out, n.spec.ID)
		for _, c := range n.kids {
			walk(c)
		}
	}
	walk(w.tree.root)
	return out
}

// run replays one trace and reports the first difference.
func (w *otpWorld) run(trace otpTrace) error {
	w.tree, w.fail = New(OTP()), map[string]int{}
	w.step(Input{Kind: Configure, Specs: otpSpecs(trace.Tree, ""), Boot: true})
	if diff := cmp.Diff(trace.Boot, w.did); diff != "" {
		return fmt.Errorf("trace %d: boot (-OTP +ours):\n%s", trace.ID, diff)
	}
	for i, s := range trace.Steps {
		w.did, w.result = []string{}, ""
		if s.Fail != nil {
			w.fail[s.Fail.Child] = s.Fail.Times
		}
		w.do(s)
		got := otpStep{Result: w.result, Did: w.did, Alive: w.alive()}
		want := otpStep{Result: s.Result, Did: s.Did, Alive: s.Alive}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("trace %d, step %d, %s %s (-OTP +ours):\n%s", trace.ID, i, s.Do, s.Child, diff)
		}
	}
	return nil
}

func (w *otpWorld) do(s otpStep) {
	switch s.Do {
	case "exit":
		_, st, _ := w.tree.Lookup(s.Child)
		w.step(Input{Kind: Exited, Node: s.Child, Incarnation: st.Incarnation, Normal: s.Reason == "normal" || s.Reason == "shutdown", Reason: s.Reason})
		w.result = "ok"
	case "terminate_child":
		w.step(Input{Kind: Order, Command: CmdTerminate, Node: s.Child})
	case "restart_child":
		w.step(Input{Kind: Order, Command: CmdStart, Node: s.Child})
	case "delete_child":
		w.step(Input{Kind: Order, Command: CmdDelete, Node: s.Child})
	default:
		w.t.Fatalf("unknown step %q", s.Do)
	}
}

func readTraces(t testing.TB) []otpTrace {
	t.Helper()
	path := os.Getenv("OTP_TRACES")
	if path == "" {
		path = "testdata/otp-traces.jsonl.gz"
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	var out []otpTrace
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var trace otpTrace
		if err := json.Unmarshal(lines.Bytes(), &trace); err != nil {
			t.Fatalf("%s, line %d: %v", path, len(out)+1, err)
		}
		out = append(out, trace)
	}
	if lines.Err() != nil || len(out) == 0 {
		t.Fatalf("%s: %d traces, %v", path, len(out), lines.Err())
	}
	return out
}

// TestOTPTraces replays what the real supervisor of Erlang/OTP was recorded to
// do. OTP_TRACES names another file of the same form.
func TestOTPTraces(t *testing.T) {
	t.Parallel()
	failed := 0
	traces := readTraces(t)
	for _, trace := range traces {
		if err := (&otpWorld{t: t}).run(trace); err != nil {
			if failed++; failed <= 3 {
				t.Error(err)
			}
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d traces differ", failed, len(traces))
	}
}

// TestOTPTracesResumed does the same with a tree that is rebuilt from its JSON
// before every single input, so also in the middle of every group restart.
func TestOTPTracesResumed(t *testing.T) {
	t.Parallel()
	for i, trace := range readTraces(t) {
		if i%6 != 0 {
			continue
		}
		if err := (&otpWorld{t: t, reload: true}).run(trace); err != nil {
			t.Fatal(err)
		}
	}
}

func roundTrip(t testing.TB, tree *Tree, opt Options) *Tree {
	t.Helper()
	raw, err := json.Marshal(tree.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var s Snapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	again, err := Load(opt, s)
	if err != nil {
		t.Fatal(err)
	}
	again.setRunners(tree.runners)
	return again
}
