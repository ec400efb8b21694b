package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// rig is a nats-server with JetStream on disk, and the connection of whoever is
// no supervisor. Benchmarks compare what the supervisor does on it with what the
// server alone needs for the same.
type rig struct {
	b      *testing.B
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream

	mu sync.Mutex
	// held is what its runner runs, by agent.
	held map[string]uint64
	// names are the sorted agents of held: a list has many pages.
	names []string
}

// newRig runs a server as natstest.Listen or natstest.Start does.
func newRig(b *testing.B, run func(testing.TB, ...func(*server.Options)) *natstest.Server) *rig {
	b.Helper()
	server := run(b)
	nc := server.Connect(b)
	r := &rig{b: b, server: server, nc: nc, js: natstest.JetStream(b, nc)}
	natstest.Streams(b, r.js)
	return r
}

// hold notes that an agent's incarnation runs.
func (r *rig) hold(agent string, incarnation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = map[string]uint64{}
	}
	r.held[agent] = incarnation
}

// list is a page of what runs, behind an agent.
func (r *rig) list(runner, after string) contracts.RunnerList {
	const page = 2000
	r.mu.Lock()
	defer r.mu.Unlock()
	out := contracts.RunnerList{Runner: runner}
	if len(r.names) != len(r.held) {
		r.names = slices.Sorted(maps.Keys(r.held))
	}
	names := r.names
	from, _ := slices.BinarySearch(names, after+"\x00")
	for _, agent := range names[from:min(from+page, len(names))] {
		out.Agents = append(out.Agents, contracts.RunnerAgent{Agent: agent, Incarnation: r.held[agent], PID: 1, State: contracts.AgentRunning})
	}
	out.More = from+page < len(names)
	return out
}

// serveRunner answers as a runner does, as far as a supervisor can tell: it
// announces itself, every start succeeds, and each incarnation beats once.
func (r *rig) serveRunner(name string) {
	r.b.Helper()
	nc := r.server.Connect(r.b)
	serve := func(verb string, handle func(*nats.Msg)) {
		if _, err := nc.Subscribe(contracts.RunnerSubject(name, verb), handle); err != nil {
			r.b.Fatal(err)
		}
	}
	serve("start", func(m *nats.Msg) {
		var cmd contracts.StartCommand
		if err := json.Unmarshal(m.Data, &cmd); err != nil {
			r.b.Error(err)
		}
		r.hold(cmd.Agent, cmd.Incarnation)
		reply, _ := json.Marshal(contracts.RunnerReply{Code: contracts.RunnerOK, Agent: cmd.Agent, Incarnation: cmd.Incarnation, PID: 1})
		_ = m.Respond(reply)
		beat, _ := json.Marshal(contracts.Heartbeat{Incarnation: cmd.Incarnation, Status: contracts.StatusRunning})
		_ = nc.Publish(contracts.HeartbeatSubject(cmd.Agent), beat)
	})
	serve("list", func(m *nats.Msg) {
		var cmd contracts.ListCommand
		if err := json.Unmarshal(m.Data, &cmd); err != nil {
			r.b.Error(err)
		}
		list, _ := json.Marshal(r.list(name, cmd.After))
		_ = m.Respond(list)
	})
	ctx, cancel := context.WithCancel(context.Background())
	announcing := make(chan struct{})
	r.b.Cleanup(func() { cancel(); <-announcing })
	go func() {
		defer close(announcing)
		raw, _ := json.Marshal(contracts.RunnerAnnouncement{Runner: name, Session: "s", Kind: "process", Started: time.Now()})
		for {
			_ = nc.Publish(contracts.AnnounceSubject(name), raw)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

// supervise runs a supervisor until it is stopped and gives the tap on its
// connection. It returns when the supervisor serves.
func (r *rig) supervise(name string, f *config.File) (t *tap, stop func()) {
	r.b.Helper()
	t = &tap{server: r.server}
	through := nats.SetCustomDialer(t)
	if !strings.HasPrefix(r.nc.ConnectedAddr(), "127.") {
		through = nats.InProcessServer(t)
	}
	nc := r.server.Connect(r.b, through)
	env := newEnv(r.b, nc, name, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	stop, _ = launch(r.b, env, FromFile(f))
	return t, stop
}

// exit is the event of an agent's end, as its runner stores it.
func (r *rig) exit(agent string, incarnation uint64) contracts.Event {
	ev, err := contracts.NewEvent("runner/r1", contracts.AgentFailed, agent, time.Now()).Data(contracts.AgentFailedData{
		Agent: agent, Incarnation: incarnation, Runner: "r1",
		Reason: contracts.ReasonExited, Exit: &contracts.Exit{Code: 1, At: time.Now()},
	}).Build()
	if err != nil {
		r.b.Fatal(err)
	}
	return ev
}

// follower reads a tree's decisions from the stream, when it is asked to: a
// subscription would be served before the decision is stored, and burden what is
// measured.
type follower struct {
	b       *testing.B
	stream  jetstream.Stream
	subject string
	// last is the sequence of what was read last.
	last uint64
}

// follow reads the decisions that come from now on.
func (r *rig) follow(treeName string) *follower {
	r.b.Helper()
	stream, err := r.js.Stream(context.Background(), contracts.EventStream)
	if err != nil {
		r.b.Fatal(err)
	}
	f := &follower{b: r.b, stream: stream, subject: contracts.TreeWildcard(treeName)}
	switch m, err := stream.GetLastMsgForSubject(context.Background(), f.subject); {
	case err == nil:
		f.last = m.Sequence
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		r.b.Fatal(err)
	}
	return f
}

// next returns the next decision, once it is stored.
func (f *follower) next() []byte {
	f.b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		m, err := f.stream.GetMsg(ctx, f.last+1, jetstream.WithGetMsgSubject(f.subject))
		switch {
		case err == nil:
			f.last = m.Sequence
			return m.Data
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			f.b.Fatalf("no decision after sequence %d: %v", f.last, err)
		}
	}
}

// await waits for the decision that takes all into account up to a sequence of
// the stream, and tells when the server stored it. It looks seldom, since the
// server has to read a large message each time.
func (f *follower) await(sequence uint64) time.Time {
	f.b.Helper()
	const often = 25 * time.Millisecond
	for begin := time.Now(); time.Since(begin) < time.Minute; <-time.After(often) {
		m, err := f.stream.GetLastMsgForSubject(context.Background(), f.subject)
		if err != nil {
			f.b.Fatal(err)
		}
		if decidedUpTo(m) >= sequence {
			return f.first(sequence, m)
		}
	}
	f.b.Fatalf("sequence %d is not decided upon", sequence)
	return time.Time{}
}

// first tells when the first of the decisions that do was stored, of which one
// is known.
func (f *follower) first(sequence uint64, known *jetstream.RawStreamMsg) time.Time {
	f.b.Helper()
	for at := f.last + 1; at < known.Sequence; {
		m, err := f.stream.GetMsg(context.Background(), at, jetstream.WithGetMsgSubject(f.subject))
		if err != nil {
			f.b.Fatal(err)
		}
		if decidedUpTo(m) >= sequence {
			return m.Time
		}
		at = m.Sequence + 1
	}
	return known.Time
}

// decidedUpTo is the sequence up to which all is taken into account by a
// decision that ends with this message; 0 if the rest of it follows.
func decidedUpTo(m *jetstream.RawStreamMsg) uint64 {
	if bytes.Contains(m.Data, []byte(`"more":true`)) {
		return 0
	}
	_, tail, _ := bytes.Cut(m.Data, []byte(`"cursor":`))
	cursor, _ := strconv.ParseUint(string(tail[:bytes.IndexAny(tail, ",}")]), 10, 64)
	return cursor
}

// What decisions say of agents that come to run, and of exits.
const (
	comesToRun = `{"kind":"running"`
	exited     = `{"kind":"exit"`
)

// occurrences counts a text in messages.
func occurrences(messages [][]byte, text string) (n int) {
	for _, m := range messages {
		n += bytes.Count(m, []byte(text))
	}
	return n
}

// awaitRunning reads decisions until n agents have come to run.
func awaitRunning(decisions *follower, n int) {
	decisions.b.Helper()
	for n > 0 {
		n -= occurrences([][]byte{decisions.next()}, comesToRun)
	}
}

// tap is a connection to the server on which the moments are taken at which
// something crosses the wire: it arrives when the read that brings it returns,
// and departs when the write that takes it begins.
type tap struct {
	net.Conn
	server *natstest.Server
	// held is locked while nothing is to be heard.
	held    sync.Mutex
	mu      sync.Mutex
	in, out []byte
	arrived time.Time
	took    chan time.Duration
}

// Dial implements nats.CustomDialer.
func (t *tap) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	t.Conn = conn
	return t, err
}

// InProcessConn implements nats.InProcessConnProvider.
func (t *tap) InProcessConn() (net.Conn, error) {
	conn, err := t.server.InProcessConn()
	t.Conn = conn
	return t, err
}

// between returns the time from the next arrival of one text to the next
// departure of another after it; negative when the arrival was missed because
// two reads brought it.
func (t *tap) between(in, out string) <-chan time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in, t.out, t.arrived, t.took = []byte(in), []byte(out), time.Time{}, make(chan time.Duration, 1)
	return t.took
}

// hold keeps whatever arrives from being heard until it is released.
func (t *tap) hold() (release func()) {
	t.held.Lock()
	return t.held.Unlock
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.held.Lock()
	defer t.held.Unlock()
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in != nil && bytes.Contains(p[:n], t.in) {
		t.in, t.arrived = nil, now
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	now := time.Now()
	t.mu.Lock()
	if t.out != nil && bytes.Contains(p, t.out) {
		took := time.Duration(-1)
		if !t.arrived.IsZero() {
			took = now.Sub(t.arrived)
		}
		t.in, t.out = nil, nil
		t.took <- took
	}
	t.mu.Unlock()
	return t.Conn.Write(p)
}

// times are measured durations.
type times []time.Duration

// quantile returns the smallest time that a share of all does not exceed, in
// microseconds.
func (t times) quantile(share float64) float64 {
	s := slices.Sorted(slices.Values(t))
	return float64(s[min(len(s)-1, int(share*float64(len(s))))].Nanoseconds()) / 1000
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
