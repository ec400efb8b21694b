package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Host is a runner whose agents are goroutines of this process. To the
// supervisor it is a runner like any other, of kind "goroutine": an agent is
// put on it by naming it in the tree, and the first word of the agent's
// command is the name of one of its Funcs.
//
// A panic ends the agent that panicked and no other. What a Host cannot do is
// kill: a goroutine that does not end when its context does stays, is reported
// as not stopped, and is never joined by a second copy of itself.
//
// What only a process can have, a Host refuses, and names it: dir, env_file, group,
// limits, nice, output, pass_env, stop_signal, umask and user, and of health all but
// output_within and max_runtime. The variables of env are there by Options.Getenv,
// and not in the environment of the program.
//
// A Host keeps nothing on disk. When its process dies, so do its agents, and
// the report of an agent's end that the log had not yet acknowledged is lost;
// the supervisor then learns of it from the silence of both.
type Host struct {
	// Name is the runner's id.
	Name string
	// Funcs are the agents it can run, by the name that a command has.
	Funcs map[string]Func
	// Capacity is how many agents it runs at once; 1,000 by default.
	Capacity int
	// OutputBytes is how much of what an agent printed is kept in memory for `smith
	// logs`; 64 KiB by default. Of agents that have ended it is kept for as many as
	// Capacity, the latest.
	OutputBytes int
	// Labels are announced with it.
	Labels map[string]string
	// HeartbeatInterval is of its own beats; 5 s by default.
	HeartbeatInterval time.Duration
	// URL, Creds, CA, ConnectTimeout, NATS and Log are as in Options. All its
	// agents share its two connections.
	URL, Creds, CA string
	ConnectTimeout time.Duration
	NATS           []nats.Option
	Log            *slog.Logger
}

const (
	defaultHostCapacity = 1000
	// maxHostNames bounds the agents, living or ended, that a Host remembers.
	maxHostNames  = 100_000
	kindGoroutine = "goroutine"
)

// ErrNotStopped tells that goroutines did not end when they should.
var ErrNotStopped = errors.New("agent has not stopped")

// options gives what a Host shares with an agent.
func (h Host) options() Options {
	return Options{
		Agent: h.Name, Type: contracts.TypeRunner, HeartbeatInterval: h.HeartbeatInterval,
		URL: h.URL, Creds: h.Creds, CA: h.CA, ConnectTimeout: h.ConnectTimeout, NATS: h.NATS, Log: h.Log,
	}.withDefaults()
}

// Validate reports everything that is wrong with the host, or nil.
func (h Host) Validate() error {
	errs := []error{h.options().Validate()}
	if len(h.Funcs) == 0 {
		errs = append(errs, errors.New("field Funcs names no agent"))
	}
	for name, f := range h.Funcs {
		if name == "" || f == nil {
			errs = append(errs, fmt.Errorf("field Funcs[%q] must have a name and a function", name))
		}
	}
	if h.Capacity < 0 {
		errs = append(errs, fmt.Errorf("field Capacity: %d is negative", h.Capacity))
	}
	if h.OutputBytes != 0 && h.OutputBytes < leastOutput {
		errs = append(errs, fmt.Errorf("field OutputBytes: %d is too few; at least %d", h.OutputBytes, leastOutput))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("host %q: %w", h.Name, err)
	}
	return nil
}

// Main runs the host as this process, with SMITH_NATS_URL, SMITH_NATS_CREDS
// and SMITH_NATS_CA from the environment where the fields are empty, until
// SIGTERM or SIGINT, and exits: 0 when all agents ended, else 1.
func (h Host) Main() {
	h.URL = orDefault(h.URL, os.Getenv(contracts.EnvNATSURL))
	h.Creds = orDefault(h.Creds, os.Getenv(contracts.EnvNATSCreds))
	h.CA = orDefault(h.CA, os.Getenv(contracts.EnvNATSCA))
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if err := h.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
	os.Exit(exitOK)
}

// Run serves start, stop, list, logs and forget until ctx ends, and then stops its agents.
// The error wraps ErrNotStopped when some of them live on.
func (h Host) Run(ctx context.Context) error {
	h.Capacity = orDefault(h.Capacity, defaultHostCapacity)
	h.OutputBytes = orDefault(h.OutputBytes, defaultOutput)
	if err := h.Validate(); err != nil {
		return err
	}
	o := h.options()
	l, err := dial(ctx, "smith host "+h.Name, contracts.HeartbeatConnection(h.Name, 0), o)
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	defer l.close()
	r := &hosting{
		Host: h, base: o, link: l, log: o.Log.With("runner", h.Name),
		session: rand.Text(), started: time.Now().UTC(),
		agents: make(map[string]*hosted), outputs: make(map[string]*output),
		readers: make(chan struct{}, maxReaders), down: make(chan struct{}),
	}
	r.reports, r.endReports = context.WithCancel(context.WithoutCancel(ctx))
	defer r.endReports()
	if err := r.claimName(); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	service, err := r.serve()
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	r.announceUntil(ctx.Done())
	r.beat(contracts.StatusStopping)
	err = r.shutDown()
	r.beat(contracts.StatusStopped)
	if e := service.Stop(); e != nil && !errors.Is(e, nats.ErrConnectionClosed) {
		r.log.Warn("micro service did not stop cleanly", "error", e)
	}
	return err
}

// hosting is a Host at work.
type hosting struct {
	Host
	base    Options
	link    *link
	log     *slog.Logger
	session string
	started time.Time
	beats   uint64 // sent for itself

	reports    context.Context // of the events about agents
	endReports context.CancelFunc
	helpers    sync.WaitGroup
	readers    chan struct{} // taken by each that waits for output
	down       chan struct{} // closed when it no longer waits

	mu       sync.Mutex
	agents   map[string]*hosted
	outputs  map[string]*output // what agents printed
	living   int
	stopping bool   // takes no starts
	fence    uint64 // takes none of lower terms
	closed   bool   // takes nothing; set before helpers are waited for
}

// claimName makes sure that no other runner has the name.
func (r *hosting) claimName() error {
	msg, err := ask(r.link.work, contracts.RunnerSubject(r.Name, "list"))
	if err != nil {
		return nil // nobody answers
	}
	return fmt.Errorf("%w: a runner answers on %s; stop it or choose another name", ErrNameTaken, msg.Subject)
}

// serve registers the runner's endpoints.
func (r *hosting) serve() (micro.Service, error) {
	service, err := micro.AddService(r.link.work, micro.Config{
		Name: "smith-" + contracts.ServiceRunner, Version: "1.0.0",
		Description: "runs agents as goroutines",
		Metadata:    map[string]string{"runner": r.Name, "kind": kindGoroutine},
	})
	if err != nil {
		return nil, fmt.Errorf("micro service: %w", err)
	}
	for verb, f := range map[string]func(micro.Request){
		"start": r.onStart, "stop": r.onStop, "list": r.onList, "logs": r.onLogs, "forget": r.onForget,
	} {
		if err := service.AddEndpoint(verb, micro.HandlerFunc(f), micro.WithEndpointSubject(contracts.RunnerSubject(r.Name, verb))); err != nil {
			return nil, errors.Join(fmt.Errorf("endpoint %s: %w", verb, err), service.Stop())
		}
	}
	return service, flush(r.link.work, r.base.ConnectTimeout)
}

func (r *hosting) onStart(req micro.Request) {
	cmd, err := decodeCommand[contracts.StartCommand](req.Data())
	if err != nil {
		r.answer(req, contracts.RunnerReply{Code: contracts.RunnerInvalid, Error: err.Error()})
		return
	}
	r.answer(req, r.start(cmd))
}

// onStop answers when the end is known, so it must not hold up other requests.
func (r *hosting) onStop(req micro.Request) {
	cmd, err := decodeCommand[contracts.StopCommand](req.Data())
	if err != nil {
		r.answer(req, contracts.RunnerReply{Code: contracts.RunnerInvalid, Error: err.Error()})
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.answer(req, contracts.RunnerReply{Code: contracts.RunnerStopping, Agent: cmd.Agent, Error: "host " + r.Name + " has shut down"})
		return
	}
	r.helpers.Go(func() { r.answer(req, r.stop(cmd)) })
}

func (r *hosting) onList(req micro.Request) {
	list := contracts.RunnerList{Runner: r.Name, Agents: []contracts.RunnerAgent{}}
	var cmd contracts.ListCommand
	_ = json.Unmarshal(req.Data(), &cmd) // who says nothing fences nothing
	r.mu.Lock()
	r.fence = max(r.fence, cmd.Term)
	list.Term = r.fence
	agents := make([]contracts.RunnerAgent, 0, len(r.agents))
	for _, name := range slices.Sorted(maps.Keys(r.agents)) {
		agents = append(agents, r.viewLocked(r.agents[name]))
	}
	r.mu.Unlock()
	if err := list.Fill(cmd.Select(agents), cmd.After); err != nil {
		r.log.Warn("agent left out of a list", "error", err)
	}
	r.answer(req, list)
}

func (r *hosting) answer(req micro.Request, v any) {
	if err := req.RespondJSON(v); err != nil {
		r.log.Warn("cannot answer a request", "subject", req.Subject(), "error", err)
	}
}

func decodeCommand[T interface{ Validate() error }](body []byte) (cmd T, err error) {
	if len(body) > contracts.MaxRequestBytes {
		return cmd, fmt.Errorf("%w: %d bytes; at most %d", contracts.ErrRunnerCommand, len(body), contracts.MaxRequestBytes)
	}
	if err := json.Unmarshal(body, &cmd); err != nil {
		return cmd, fmt.Errorf("%w: not JSON: %w", contracts.ErrRunnerCommand, err)
	}
	return cmd, cmd.Validate()
}

// announceUntil says every second that the runner is there, and beats.
func (r *hosting) announceUntil(done <-chan struct{}) {
	announce := time.NewTicker(contracts.RunnerAnnounceInterval)
	defer announce.Stop()
	beat := time.NewTicker(r.base.HeartbeatInterval)
	defer beat.Stop()
	host, _ := os.Hostname() // empty says as much
	for sayHere, sayAlive := true, true; ; {
		if sayHere {
			r.mu.Lock()
			n := r.living
			r.mu.Unlock()
			r.publish(contracts.AnnounceSubject(r.Name), contracts.RunnerAnnouncement{
				Runner: r.Name, Host: host, Session: r.session, Labels: r.Labels, Kind: kindGoroutine,
				Agents: n, Capacity: r.Capacity, Started: r.started,
			})
		}
		if sayAlive {
			r.beat(contracts.StatusRunning)
		}
		sayHere, sayAlive = false, false
		select {
		case <-announce.C:
			sayHere = true
		case <-beat.C:
			sayAlive = true
		case <-done:
			return
		}
	}
}

// beat says how the runner itself is.
func (r *hosting) beat(status contracts.AgentStatus) {
	r.beats++
	r.publish(contracts.HeartbeatSubject(r.Name), contracts.Heartbeat{
		Seq: r.beats, Interval: contracts.Duration(r.base.HeartbeatInterval), Type: contracts.TypeRunner, Status: status,
	})
}

// publish sends what is worth sending only now.
func (r *hosting) publish(subject string, v any) {
	body, err := json.Marshal(v)
	if err == nil {
		err = r.link.beat.Publish(subject, body)
	}
	if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) {
		r.log.Warn("not sent", "subject", subject, "error", err)
	}
}

// shutDown stops all agents at the same time, and waits for the reports.
func (r *hosting) shutDown() error {
	r.mu.Lock()
	r.stopping = true
	agents := slices.SortedFunc(maps.Values(r.agents), func(a, b *hosted) int {
		return strings.Compare(a.cmd.Agent, b.cmd.Agent)
	})
	r.mu.Unlock()
	var stops sync.WaitGroup
	for _, a := range agents {
		if a.alive() {
			stops.Go(func() { a.end(a.cmd.ShutdownTimeout.D(), false) })
		}
	}
	stops.Wait()

	var left, lost []string
	timeout := time.After(reportTimeout)
	for _, a := range agents {
		if a.alive() {
			left = append(left, a.cmd.Agent)
			continue
		}
		select {
		case <-a.reported:
		case <-timeout:
			r.endReports()
			<-a.reported
		}
		if a.lost {
			lost = append(lost, a.cmd.Agent)
		}
	}
	r.mu.Lock()
	r.closed = true
	close(r.down)
	r.mu.Unlock()
	if len(left) > 0 {
		return fmt.Errorf("host %s: %w: %s; end the process", r.Name, ErrNotStopped, strings.Join(left, ", "))
	}
	r.helpers.Wait()
	if len(lost) > 0 {
		return fmt.Errorf("host %s: %w within %s: the ends of %s", r.Name, ErrUnreported, reportTimeout, strings.Join(lost, ", "))
	}
	return nil
}

// reportTimeout bounds the wait for the log when a host shuts down.
const reportTimeout = 5 * time.Second
