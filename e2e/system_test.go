package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// system is MisterSmith deployed apart: a nats-server and the five services,
// each a process.
type system struct {
	t        *testing.T
	dir      string
	url      string
	nats     *process
	services map[string]*process
	http     map[string]string
	nc       *nats.Conn
	js       jetstream.JetStream
}

// starting lists the services in an order that lets each find what it needs.
var starting = []string{"eventstore", "runner", "detector", "router", "supervisor"}

// deploy starts everything with the given supervision_tree and waits until all
// serve. WORKER, RECORDS and DIR in the configuration are replaced.
func deploy(t *testing.T, config string) *system {
	t.Helper()
	return deployWith(t, config, nil)
}

// deployWith is deploy with files in the system's directory.
func deployWith(t *testing.T, config string, files map[string]string) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), services: map[string]*process{}, http: map[string]string{}}
	port := freePort(t)
	s.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	s.nats = start(t, os.Args[0], []string{asNATSServer + "=1"}, "-js", "-a", "127.0.0.1", "-p", fmt.Sprint(port), "-sd", filepath.Join(s.dir, "nats"))
	s.serve(config, files)
	return s
}

// serve starts the services on the system's servers.
func (s *system) serve(config string, files map[string]string) {
	s.t.Helper()
	s.connect()
	for name, content := range files {
		s.write(name, content)
	}
	file := s.write("supervision-config.yaml",
		strings.NewReplacer("WORKER", bin("worker"), "RECORDS", s.records(), "DIR", s.dir).Replace(config))
	for _, name := range starting {
		s.http[name] = fmt.Sprintf("127.0.0.1:%d", freePort(s.t))
		args := []string{"--server", s.url, "--http", s.http[name], "--config", file, "--instance", name + "-1"}
		switch name {
		case "runner":
			args = append(args, "--name", "host1", "--state-dir", filepath.Join(s.dir, "runner"))
		case "eventstore":
			args = append(args, "--index-dir", filepath.Join(s.dir, "index"))
		}
		s.services[name] = start(s.t, bin(name), nil, args...)
	}
	s.t.Cleanup(s.stopAgents)
	for _, name := range starting {
		s.waitReady(name)
	}
}

// write makes a file in the system's directory and gives its path.
func (s *system) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// submit puts a task into the queue.
func (s *system) submit(taskType, id string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := s.js.Publish(ctx, contracts.TaskSubject(taskType), []byte(`{"id":"`+id+`"}`)); err != nil {
		s.t.Fatal(err)
	}
}

// waitHolding waits until an agent has tasks in hand.
func (s *system) waitHolding(agent string) {
	s.t.Helper()
	eventually(s.t, 10*time.Second, agent+" to hold a task", func() bool {
		msg, err := s.nc.Request("smith.router.agents", []byte("{}"), 2*time.Second)
		if err != nil {
			return false
		}
		var view contracts.RouterView
		_ = json.Unmarshal(msg.Data, &view)
		for _, a := range view.Agents {
			if a.Agent == agent && a.InFlight > 0 {
				return true
			}
		}
		return false
	})
}

// records is the file to which the agents write their starts and stops.
func (s *system) records() string { return filepath.Join(s.dir, "records.jsonl") }

func (s *system) connect() {
	s.t.Helper()
	var err error
	eventually(s.t, 10*time.Second, "connect to nats-server", func() bool {
		s.nc, err = nats.Connect(s.url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
		return err == nil
	})
	s.t.Cleanup(s.nc.Close)
	if s.js, err = jetstream.New(s.nc); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) waitReady(name string) {
	s.t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(s.t, 30*time.Second, name+" to be ready", func() bool {
		resp, err := client.Get("http://" + s.http[name] + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// stopAgents kills whatever agents still live: services leave them running. The
// services end first, or they would start others in their place.
func (s *system) stopAgents() {
	for _, name := range slices.Backward(starting) {
		s.services[name].Stop()
	}
	// They know the servers, in any order; no other test has any of these.
	first, _, _ := strings.Cut(strings.TrimPrefix(s.url, "nats://"), ",")
	eventually(s.t, 20*time.Second, "the agents' end", func() bool {
		left := processes("environ", first)
		for _, pid := range left {
			_ = killGroup(pid)
		}
		return len(left) == 0
	})
}

func (s *system) list() []contracts.RunnerAgent {
	msg, err := s.nc.Request(contracts.RunnerSubject("host1", "list"), nil, 2*time.Second)
	if err != nil {
		return nil
	}
	var list contracts.RunnerList
	_ = json.Unmarshal(msg.Data, &list)
	return list.Agents
}

// tree asks the supervisor; a supervisor that is away gives the zero reply.
func (s *system) tree() contracts.TreeReply {
	var reply contracts.TreeReply
	msg, err := s.nc.Request("smith.supervisor.tree", []byte("{}"), 2*time.Second)
	if err == nil {
		_ = json.Unmarshal(msg.Data, &reply)
	}
	return reply
}

// agents are the tree's agents by name.
func (s *system) agents() map[string]contracts.NodeView {
	out := map[string]contracts.NodeView{}
	var walk func(n contracts.NodeView)
	walk = func(n contracts.NodeView) {
		if n.Kind == "agent" {
			out[n.Name] = n
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(s.tree().Root)
	return out
}

// waitRunning waits until each named agent is verified in an incarnation of at
// least the one given.
func (s *system) waitRunning(atLeast map[string]uint64) map[string]contracts.NodeView {
	s.t.Helper()
	var now map[string]contracts.NodeView
	defer func() {
		if s.t.Failed() {
			s.t.Logf("agents: %+v", now)
		}
	}()
	eventually(s.t, 30*time.Second, fmt.Sprintf("agents to run: %v", atLeast), func() bool {
		now = s.agents()
		for name, n := range atLeast {
			if a := now[name]; a.Status != contracts.NodeRunning || a.Incarnation < n {
				return false
			}
		}
		return true
	})
	return now
}

// first is the root's first child, or the zero view while there is no supervisor.
func (s *system) first() contracts.NodeView {
	if children := s.tree().Root.Children; len(children) > 0 {
		return children[0]
	}
	return contracts.NodeView{}
}

// kill ends an agent's process with -9.
func (s *system) kill(agent string) {
	s.t.Helper()
	pid := 0
	eventually(s.t, 10*time.Second, agent+" to have a process", func() bool {
		pid = s.agents()[agent].PID
		return pid > 1
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill %s: %v", agent, err)
	}
}

// events reads the whole event stream.
func (s *system) events() []contracts.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := s.js.Stream(ctx, contracts.EventStream)
	if err != nil {
		s.t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return nil
	}
	consumer, err := s.js.OrderedConsumer(ctx, contracts.EventStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		s.t.Fatal(err)
	}
	defer messages.Stop()
	var out []contracts.Event
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			s.t.Fatalf("read events: %v", err)
		}
		ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
		if err != nil {
			s.t.Errorf("unreadable event: %v", err)
		}
		out = append(out, ev)
		meta, err := msg.Metadata()
		if err != nil {
			s.t.Fatal(err)
		}
		if meta.Sequence.Stream >= last {
			return out
		}
	}
}

// checkLog fails when an event is stored twice, or a tree's decisions have a
// gap.
func (s *system) checkLog() []contracts.Event {
	s.t.Helper()
	all := s.events()
	seen := map[string]bool{}
	next := map[string]uint64{}
	for _, ev := range all {
		if seen[ev.ID] {
			s.t.Errorf("event %s (%s about %s) is stored twice", ev.ID, ev.Type, ev.Entity)
		}
		seen[ev.ID] = true
		if ev.Type.Family() != contracts.FamilyTree {
			continue
		}
		d, err := contracts.DecodeData[contracts.DecisionsData](ev)
		if err != nil {
			s.t.Error(err)
		}
		if want := next[ev.Entity] + 1; d.Number != want {
			s.t.Errorf("decision %d of tree %s follows %d", d.Number, ev.Entity, want-1)
		}
		next[ev.Entity] = d.Number
	}
	return all
}

// record is what an agent wrote about itself.
type record struct {
	Event       string    `json:"event"`
	Agent       string    `json:"agent"`
	Incarnation uint64    `json:"incarnation"`
	PID         int       `json:"pid"`
	At          time.Time `json:"time"`
}

func (s *system) readRecords() []record {
	s.t.Helper()
	raw, err := os.ReadFile(s.records())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var out []record
	for line := range strings.Lines(string(raw)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			s.t.Fatalf("record %q: %v", line, err)
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b record) int { return a.At.Compare(b.At) })
	return out
}

// ports are those given to tests; none is given twice. Each is taken for as long
// as this process lives by listening to a name, which other runs of these tests
// find in use.
var ports struct {
	last  atomic.Int32
	taken sync.Map
}

// freePort is a port that was free a moment ago, that no outgoing connection will
// take, since those come from the range above 32767, and no other run of these
// tests beside this one.
func freePort(t *testing.T) int {
	t.Helper()
	const lowest, all = 20000, 12000
	ports.last.CompareAndSwap(0, 1+rand.Int32N(all))
	for range all {
		port := lowest + int(ports.last.Add(1)%all)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		if taken, err := net.Listen("unix", fmt.Sprintf("@mistersmith-e2e-%d", port)); err == nil {
			ports.taken.Store(port, taken)
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// eventually waits for something that only another process's answers can tell.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !cond() {
		select {
		case <-limit.C:
			t.Fatalf("waited %s for %s", within, what)
		case <-every.C:
		}
	}
}
