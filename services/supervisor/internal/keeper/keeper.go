// Package keeper keeps one tree: it feeds what happens to the tree's core,
// stores every decision in the log before anything comes of it, and has the
// decided carried out.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/environment"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/fleet"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/journal"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/lease"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/storage"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Options say what a keeper keeps.
type Options struct {
	// Tree is the tree's name.
	Tree string
	// Term is the lease, which the keeper has for as long as it keeps.
	Term *lease.Term
	// Own is the file that the process was started with, and Standing how it
	// comes to offer it. Configure returns what a file says, Read reads another
	// one.
	Own       *config.File
	Standing  tree.Standing
	Configure func(*config.File) (Configuration, error)
	Read      func(name, text string) (Configuration, error)
	// Boot starts a tree that is down when the keeper takes over; a new one is
	// started anyway.
	Boot bool
	// DegradedFails makes a start fail whose agent reports itself degraded.
	DegradedFails bool
	// Child makes the spec of a child that is added at run time.
	// Its environment is given apart from the spec, as it is not to be in the log.
	// The file in force gives it what it leaves out.
	Child func(*config.File, contracts.AddRequest) (*tree.Spec, map[string]string, error)
	// Past gives the tree as it was, and Serve opens further endpoints.
	Past  func(context.Context, contracts.TreeRequest) (contracts.TreeReply, error)
	Serve func(*shell.API) error
	// LostAfter is how long a runner must have been silent to be taken for
	// gone with its host, if the evidence agrees; 0 means never.
	LostAfter time.Duration
	// SnapshotEvery is after how many decisions a snapshot is stored.
	SnapshotEvery uint64
	// Guards protect the journal's calls, Reports those that tell the log of
	// failures: a storm of them shall not keep decisions waiting.
	Guards  journal.Guards
	Reports *guard.Guard
	Rejects *shell.Rejects
	// Watch learns what cannot be stored or read.
	Watch   *storage.Watch
	Metrics *Metrics
}

// Limits of what is decided and remembered at once. So many exits make a decision
// that fits one message: in a storm each message waits at the server behind what
// hosts publish, so that fewer and larger ones are stored sooner. More would make two
// messages of it.
const (
	inboxSize  = 4096
	maxBatch   = 500
	maxChanged = 540
	maxWaiting = 1024
)

// checkEvery is how often the keeper looks at its runners and at its own
// standing.
const checkEvery = time.Second

// Keeper keeps one tree for as long as nobody else decides about it.
type Keeper struct {
	env shell.Env
	opt Options

	// leader decides; tree is its tree, for reading.
	leader   *leader.Leader
	tree     *tree.Tree
	journal  *journal.Journal
	commands *fleet.Commander
	environs *environment.Store
	// file is the one in force, offer what became of the own one.
	file  atomic.Pointer[config.File]
	offer tree.Offer
	// opening is what taking over ends with.
	opening  tree.Input
	registry fleet.Registry
	pulse    *pulse
	// vital hears what lives where the runner is silent.
	vital     *pulse
	silence   silence
	hearing   attention
	admit     chan visited
	visits    visits
	orphans   orphans
	again     again
	revisited time.Time
	saving    saving

	inbox    chan arrival
	queries  chan func()
	announce chan *nats.Msg
	// waiting holds who waits for the answer to a command.
	waiting map[string]*caller
	// began holds when restarts under way were decided.
	began map[string]tree.Instant
	// turn is when the loop last came round, since began.
	opened time.Time
	turn   atomic.Int64
}

// arrival is an input and where it came from.
type arrival struct {
	tree.Input
	// seq is its place in the event stream, 0 when it is not from there; an
	// arrival without a kind only moves the cursor.
	seq uint64
	// seen is a runner that has been visited, see [leader.Input].
	seen string
	// from waits for the result of an order.
	from *caller
}

// Open reads the tree from the log, takes its place as the one who decides, and
// brings it up to date with what happened meanwhile. Ctx bounds the keeper's
// whole life.
func Open(ctx context.Context, env shell.Env, opt Options) (*Keeper, error) {
	k := &Keeper{
		env: env, opt: opt, inbox: make(chan arrival, inboxSize), queries: make(chan func()),
		announce: make(chan *nats.Msg, 1024), waiting: map[string]*caller{}, began: map[string]tree.Instant{}, orphans: orphans{},
		admit: make(chan visited, 64), opened: time.Now(), saving: saving{stored: make(chan error, 1)},
		silence: silence{signs: map[string]time.Time{}, told: map[string]uint64{}}, again: again{visited: map[string]time.Time{}},
	}
	var err error
	if k.journal, err = journal.Open(ctx, env, opt.Tree, opt.Guards); err != nil {
		return nil, err
	}
	k.journal.Rejects, k.journal.Watch, k.journal.Prove = opt.Rejects, opt.Watch, k.prove
	st, err := k.journal.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load tree %s: %w", opt.Tree, err)
	}
	if k.tree, err = tree.Load(tree.Options{}, st.Tree); err != nil {
		return nil, fmt.Errorf("load tree %s: %w", opt.Tree, err)
	}
	if k.environs, err = environment.Open(ctx, env, opt.Tree, opt.Guards.State); err != nil {
		return nil, err
	}
	if k.opening, err = k.open(ctx); err != nil {
		return nil, fmt.Errorf("configuration of tree %s: %w", opt.Tree, err)
	}
	k.leader = leader.New(leader.Options{MaxInputs: maxBatch, MaxChanged: maxChanged, Announced: contracts.RunnerAnnounceInterval}, leader.State{Tree: k.tree, Number: k.journal.Number(), Cursor: st.Cursor}, k.opening)
	if k.journal.Unsaved() > 0 {
		k.saving.lacks.Missed(k.now()) // among it may be orders
	}
	k.lookAtLog(ctx) // now: a leader that another follows within checkEvery would store nothing
	env.Log.Info("tree loaded", "tree", opt.Tree, "nodes", k.tree.Len(), "decision", k.journal.Number(), "folded", st.Folded, "cursor", st.Cursor, "own_file", string(k.offer))
	k.commands = fleet.NewCommander(ctx, env, opt.Own, k.environs.Get, opt.Reports, k.journal.Fence(), func(in tree.Input) { k.post(ctx, arrival{Input: in}) })
	k.pulse, k.vital = newPulse(env), newPulse(env)
	return k, nil
}

// prove makes sure that no other supervisor has had the lease in this term.
func (k *Keeper) prove(ctx context.Context) error {
	err := k.opt.Term.Prove(ctx)
	if errors.Is(err, lease.ErrLost) {
		return fmt.Errorf("%w: %w", journal.ErrSuperseded, err)
	}
	return err
}

// Run keeps the tree until ctx ends or somebody else decides about it, which
// is journal.ErrSuperseded. Serving is called once the keeper is up to date.
func (k *Keeper) Run(ctx context.Context, serving func() error) error {
	announced, err := k.env.NC.ChanSubscribe(contracts.AnnounceWildcard, k.announce)
	if err != nil {
		return fmt.Errorf("listen to runners: %w", err)
	}
	defer unsubscribe(announced)
	defer k.pulse.close()
	defer k.vital.close()
	reading, enough := context.WithCancel(ctx)
	var events sync.WaitGroup
	cursor := k.leader.Cursor()
	events.Go(func() {
		k.journal.Follow(reading, evidence, cursor, func(m jetstream.Msg, seq uint64) { k.post(reading, k.arrive(reading, m, seq)) })
	})
	defer events.Wait()
	defer enough()
	if err := k.takeOver(ctx); err != nil {
		return err
	}
	if err := serving(); err != nil {
		return err
	}
	return k.loop(ctx)
}

// loop is the keeper's life.
func (k *Keeper) loop(ctx context.Context) error {
	k.hearing.lapsed(k.env.NC, time.Now()) // from now on
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		k.rearm(timer)
		k.turned()
		select {
		case <-ctx.Done():
			return k.leave(ctx)
		case <-k.opt.Term.Lost():
			return journal.ErrSuperseded
		case a := <-k.inbox:
			k.gather(ctx, a)
		case q := <-k.queries:
			q()
		case <-k.saving.copying:
			k.copySome(ctx)
		case err := <-k.saving.stored:
			k.snapshotStored(err)
		case m := <-k.pulse.beats:
			if a, ok := k.heardBeat(ctx, m); ok {
				k.gather(ctx, a)
			}
		case m := <-k.vital.beats:
			k.heardLife(m)
		case m := <-k.announce:
			k.submit(k.heardRunner(ctx, m)...)
		case runner := <-k.commands.Fenced():
			k.visitAgain(ctx, runner, time.Now())
		case v := <-k.admit:
			k.submit(k.visitOver(v)...)
		case <-timer.C:
			k.submit(k.unheard(time.Now())...)
			k.gather(ctx, arrival{Input: tree.Input{Kind: tree.Tick}})
		case <-check.C:
			news, err := k.checkUp(ctx)
			if err != nil {
				return err
			}
			k.submit(news...)
		}
		if _, err := k.decide(ctx); err != nil {
			if ctx.Err() != nil {
				return k.leave(ctx)
			}
			return err
		}
	}
}

// hangsAfter is how long the loop may take to come round, while the log can be
// reached. It looks after its runners every checkEvery.
const hangsAfter = 15 * time.Second

func (k *Keeper) turned() { k.turn.Store(int64(time.Since(k.opened))) }

// Alive tells whether the keeper's loop goes round.
func (k *Keeper) Alive() bool {
	return !k.env.NC.IsConnected() || time.Since(k.opened)-time.Duration(k.turn.Load()) < hangsAfter
}

func (k *Keeper) rearm(timer *time.Timer) {
	wait := time.Hour
	if due, ok := k.leader.Next(); ok {
		wait = max(0, time.Duration(due-tree.Instant(time.Now().UnixNano())))
	}
	timer.Reset(wait)
}

// gather submits an arrival and what else waits.
func (k *Keeper) gather(ctx context.Context, first arrival) {
	k.submit(first)
	for n := 1; n < maxBatch; {
		select {
		case a := <-k.inbox:
			k.submit(a)
			n++
		case m := <-k.pulse.beats:
			if a, ok := k.heardBeat(ctx, m); ok {
				k.submit(a)
				n++
			}
		default:
			return
		}
	}
}

// checkUp looks for runners that have gone quiet and for a rival.
func (k *Keeper) checkUp(ctx context.Context) ([]arrival, error) {
	k.opt.Metrics.observe(k)
	if err := k.current(ctx); err != nil {
		return nil, err
	}
	k.lookAtLog(ctx)
	expired := k.registry.Expire(time.Now())
	for _, runner := range expired.Away {
		k.leader.Part(runner)
		k.visits.part(runner)
	}
	for _, runner := range expired.Forgotten {
		k.commands.Drop(runner)
		delete(k.orphans, runner)
		k.leader.Gone(runner)
	}
	k.warnOfVisits(time.Now())
	k.revisit(ctx, time.Now())
	k.reconnected(ctx)
	k.lookForLost(ctx, time.Now())
	batch := k.unheard(time.Now())
	if expired.Changed {
		batch = append(batch, k.runnersNow())
	}
	return batch, nil
}

func (k *Keeper) runnersNow() arrival {
	return arrival{Input: tree.Input{Kind: tree.Runners, Runners: k.registry.Available(), Reason: "runners available have changed"}}
}

func (k *Keeper) heardRunner(ctx context.Context, m *nats.Msg) []arrival {
	news, err := k.registry.Heard(m.Subject, m.Data, time.Now())
	if err != nil {
		k.opt.Rejects.Reject(ctx, shell.Message{Kind: "announcement", Subject: m.Subject, Body: m.Data}, err)
		return nil
	}
	if news.Back != "" {
		k.leader.Meet(news.Back)
		k.commands.Renew(news.Back)
		k.commands.Meet(news.Back, news.BootID)
		k.visit(ctx, news.Back, news.Visit, false)
	}
	if news.Rebooted {
		k.lose(news.Back, "its host has booted since it was started", k.tree.Occupants(func(r string) bool { return r == news.Back })[news.Back])
	}
	if !news.Changed {
		return nil
	}
	return []arrival{k.runnersNow()}
}

// post hands an input to the loop.
func (k *Keeper) post(ctx context.Context, a arrival) {
	select {
	case k.inbox <- a:
	case <-ctx.Done():
	}
}

func (k *Keeper) now() tree.Instant { return tree.Instant(time.Now().UnixNano()) }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func unsubscribe(s *nats.Subscription) {
	// It fails only when the connection is gone, and with it the subscription.
	_ = s.Unsubscribe()
}
