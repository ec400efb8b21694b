// Package watch connects the detector's judgement to NATS: it hears heartbeats
// and events, lets time pass, and tells what was found.
//
// What is promised: a verdict is published until the event stream has it, under
// one id, or until a proven end of that incarnation makes it needless. It is
// lost only when the process ends before; its successor then finds the same
// silence again, and knows from the log what was already told. Heartbeats are
// never stored: while the detector is away nobody is judged, and when it is
// back nobody is silent before the grace has passed.
package watch

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/connection"
	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/synadia"
	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

// Config is what a Watcher needs to know.
type Config struct {
	Rules fleet.Config
	// Correlation says when many silences are one matter.
	Correlation correlation.Config
	// Tick is how often time is looked at; default 20 ms.
	Tick time.Duration
	// Grace is how long after the detector's start or a reconnect agents may
	// take to be heard again; default 5 s.
	Grace time.Duration
	// ProbeTimeout bounds a ping; default 1 s.
	ProbeTimeout time.Duration
	// MaxUnread is how many heartbeats may wait to be read before more are
	// lost; default 1,000,000.
	MaxUnread int
	// Settings are the rules as they were configured, for those who ask.
	Settings contracts.DetectionSettings
	// Synadia, where not nil, watches agents of the Synadia Agent Protocol too.
	Synadia *synadia.Mapping
}

// ackTimeout is how long an event's acknowledgement is waited for before it is
// sent again, under the same id.
const ackTimeout = 3 * time.Second

// Watcher is a running detector.
type Watcher struct {
	env     shell.Env
	cfg     Config
	origin  time.Time
	outbox  *outbox
	prober  *prober
	rejects *rejecter
	state   *guard.Guard
	metrics *metrics
	link    link
	canary  canary
	ingest  ingest
	session string // tells this run from others

	// mu guards all below. Findings are handed on under it, so that the events
	// about an agent keep their order.
	mu      sync.Mutex
	fleet   *fleet.Fleet
	tape    tape.Tape
	stalled time.Duration // of the fleet's clock, as far as the tape has it
	stories map[string]story
	// heard are the handlers of heartbeats by subject, inlets where they wait.
	heard  map[string]nats.MsgHandler
	inlets []*inlet
	// reckoned is how many drops the clock already makes allowance for.
	reckoned int
	// crowd holds verdicts while many are silent. bandBefore has the band last
	// told of each agent whose verdict is held, findings what was published,
	// groups the log's last word on each.
	crowd      *correlation.Tracker
	bandBefore map[string]fleet.Band
	findings   map[*correlation.Finding]told
	groups     map[correlation.Group]groupWord
	// awaiting are verdicts that no canary has confirmed yet, in the order they
	// were given; awaited has the agents of those that still stand.
	awaiting []unconfirmed
	awaited  map[string]uint64
	// words are the ids of the last verdicts, and of those taken back, from
	// which the next one's id is derived.
	words  map[string]string
	peers  peers
	book   *connection.Book
	rivals *connection.Rivals
	// passing are the causes of doubt that are over, but not yet for long.
	passing map[string]passed
}

// story is the failure that an agent's next events belong to.
type story struct {
	id, correlation string
	incarnation     uint64
	reason          contracts.FailureReason
	rule            string
}

// New makes a watcher. Publishing goes through the guard called store, what is
// kept of operators' orders through that called state.
func New(env shell.Env, cfg Config, store, state *guard.Guard) (*Watcher, error) {
	if cfg.Tick == 0 {
		cfg.Tick = 20 * time.Millisecond
	}
	if cfg.Grace == 0 {
		cfg.Grace = 5 * time.Second
	}
	if cfg.ProbeTimeout == 0 {
		cfg.ProbeTimeout = time.Second
	}
	cfg.MaxUnread = cmp.Or(cfg.MaxUnread, maxUnread)
	cfg.Rules.Tick = cfg.Tick
	f, err := fleet.New(cfg.Rules)
	if err != nil {
		return nil, err
	}
	w := &Watcher{
		env: env, cfg: cfg, state: state, origin: time.Now(), metrics: newMetrics(env.Metrics),
		fleet: f, stories: map[string]story{}, session: uuid.NewString(),
		bandBefore: map[string]fleet.Band{}, findings: map[*correlation.Finding]told{}, groups: map[correlation.Group]groupWord{},
		words: map[string]string{}, awaited: map[string]uint64{}, peers: newPeers(env.Instance), passing: map[string]passed{},
	}
	limit := cmp.Or(cfg.Rules.MaxAgents, 100_000)
	w.book, w.rivals = connection.New(limit), connection.NewRivals(min(limit, 10_000))
	if w.crowd, err = correlation.New(cfg.Correlation, w.census); err != nil {
		return nil, err
	}
	w.outbox = newOutbox(w.needless, func(ctx context.Context, ev contracts.Event) error {
		return store.Run(ctx, "publish", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, ackTimeout)
			defer cancel()
			_, err := shell.PublishEvent(ctx, env.JS, ev)
			return err
		})
	}, env.Log, w.metrics)
	w.heard = map[string]nats.MsgHandler{contracts.HeartbeatAll: w.hear}
	if m := cfg.Synadia; m != nil {
		w.heard[m.Subject()] = w.hearSynadia
	}
	w.link.origin = w.origin
	w.prober = newProber(w)
	w.rejects = newRejecter(env, w.metrics)
	return w, nil
}

// Run watches until ctx ends. ready is called once the fleet is known and
// heartbeats are heard.
func (w *Watcher) Run(ctx context.Context, ready func() error) error {
	known, stop, err := w.follow(ctx)
	if err != nil {
		return err
	}
	defer stop()
	select {
	case <-known:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := w.listen(); err != nil {
		return err
	}
	defer w.deafen()
	defer w.hearConnections()()
	stopRules, err := w.followRules(ctx)
	if err != nil {
		return err
	}
	defer stopRules()

	working, end := context.WithCancel(context.WithoutCancel(ctx))
	var helpers errgroup.Group
	helpers.Go(func() error { w.outbox.run(working); return nil })
	helpers.Go(func() error { w.prober.run(working); return nil })
	helpers.Go(func() error { w.rejects.run(working); return nil })
	helpers.Go(func() error { w.link.run(working, w.env.NC); return nil })
	defer func() {
		flush, cancel := context.WithTimeout(working, flushTimeout)
		defer cancel()
		if left := w.outbox.flush(flush); left > 0 {
			w.env.Log.Warn("events not stored before the end", "events", left)
		}
		end()
		_ = helpers.Wait()
	}()
	if err := ready(); err != nil {
		return err
	}
	w.tick(ctx)
	return nil
}

// flushTimeout is how long the last events may take to be stored.
const flushTimeout = 3 * time.Second

// now is the detector's own time: monotonic, never 0.
func (w *Watcher) now() fleet.Instant { return time.Since(w.origin) + 1 }

// judge runs a step of the core and hands on what it found.
func (w *Watcher) judge(step func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	waited := len(w.awaiting)
	found := step(w.fleet, now)
	w.recordStall(now)
	for _, fd := range found {
		w.weigh(now, fd)
	}
	if len(w.awaiting) > waited {
		w.sing(true)
	}
}

// listen subscribes to the heartbeats, also to those under names that are none:
// whoever sends them must be told.
func (w *Watcher) listen() error {
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return w.resume(f, now, w.cfg.Grace) })
	for subject, hear := range w.heard {
		if err := w.take(subject, hear); err != nil {
			w.deafen()
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	w.link.hear()
	return nil
}

// deafen ends listening.
func (w *Watcher) deafen() {
	for _, in := range w.inlets {
		_ = in.sub.Unsubscribe()
	}
}
