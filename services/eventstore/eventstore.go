// Package eventstore keeps the log: it owns the streams SMITH_EVENTS and
// SMITH_DEAD and the bucket SMITH_STATE, and answers questions about stored
// events on smith.eventstore.{query,get,correlation,replay,why,stats}.
//
// The log itself is JetStream's. The service adds an index of ids, stories and
// causes, which is a disposable projection: it says how far it is, is made anew
// when it is missing, corrupt or of another stream, and never says that an
// event is unknown while it is behind. Messages on smith.event.> that are no
// events are set aside, counted and reported; they stop nothing.
package eventstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/api"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/eventlog"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/index"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/indexer"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/query"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/replay"
	"github.com/mistersmith/mistersmith/services/eventstore/internal/setaside"
)

// Downstream is the name of the NATS server's JetStream in breakers, bulkheads,
// retries and timeouts of the configuration.
const Downstream = "event_stream"

// Config says where the index is and how the streams are kept. Its zero value
// works: an index in memory, streams with the defaults of package contracts.
type Config struct {
	// IndexDir is a directory for the index, which is made where it is missing;
	// the index takes a folder of its own in it. Empty keeps it in memory: it is
	// then built at every start.
	IndexDir string
	// Streams shape the streams and the bucket.
	Streams contracts.StreamOptions
	// IndexWait bounds how long a request waits for the index; default 5 s.
	IndexWait time.Duration
	// File gives the guard of downstream calls its settings; nil is the
	// defaults.
	File *config.File
}

// FromFile gives the settings that a configuration file has for the service.
// The index's directory is not among them.
func FromFile(f *config.File) Config {
	return Config{
		File: f,
		Streams: contracts.StreamOptions{
			Replicas: f.EventStore.Replicas, MaxAge: f.EventStore.MaxAge, MaxBytes: f.EventStore.MaxBytes,
		},
	}
}

// Validate reports what cannot be meant, or nil.
func (c Config) Validate() error {
	var errs []error
	if r := c.Streams.Replicas; r != 0 && r != 1 && r != 3 && r != 5 {
		errs = append(errs, fmt.Errorf("replicas: %d; use 1, 3 or 5", r))
	}
	if c.Streams.MaxAge < 0 || c.Streams.MaxAge > 0 && c.Streams.MaxAge < contracts.DedupWindow {
		errs = append(errs, fmt.Errorf("max_age: %s; use at least %s, the time in which an event sent twice is stored once", c.Streams.MaxAge, contracts.DedupWindow))
	}
	if c.Streams.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("max_bytes: %d is negative; use 0 for no bound", c.Streams.MaxBytes))
	}
	if c.IndexWait < 0 {
		errs = append(errs, fmt.Errorf("index wait: %s is negative", c.IndexWait))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("event store: %w", err)
	}
	return nil
}

// Run serves until ctx ends: it makes the streams, follows the log and answers
// requests. It is ready once the streams exist and requests are answered; the
// index may still be catching up then.
func Run(ctx context.Context, env shell.Env, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	var down shell.Teardown
	defer func() { err = errors.Join(err, down.Run(env.Log)) }()

	calls := shell.NewGuard(env, cfg.File, Downstream)
	down.Add("guard", 2*time.Second, calls.Close)
	streams, err := ensureStreams(ctx, env, cfg.Streams)
	if err != nil {
		return err
	}
	log := eventlog.New(env.JS, streams.events, calls)
	m := newMetrics(env.Metrics)
	create := func(ctx context.Context) error {
		_, err := tryStreams(ctx, env.JS, cfg.Streams)
		return err
	}
	follow, err := indexer.New(log, create, opener(env, cfg.IndexDir), setaside.New(env, streams.dead, calls), m, env.Log)
	if err != nil {
		return err
	}
	failed := keepIndex(ctx, &down, follow)

	store := query.New(log, follow, query.Options{IndexWait: cfg.IndexWait})
	replays := replay.NewServer(env.NC, store, m, env.Log)
	down.Add("replays", 5*time.Second, replays.Close)
	if err := serve(ctx, &down, env, &api.Service{
		Store: store, Log: log, Indexer: follow, Dead: env.JS, Guard: calls,
		MaxPayload: env.NC.MaxPayload(), Observe: m.request, Replay: replays.Handle,
	}); err != nil {
		return err
	}
	env.Ready()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		failed <- nil
		return fmt.Errorf("event index: %w", err)
	}
}

// keepIndex follows the log until it is torn down; failed tells if that ends
// before.
func keepIndex(ctx context.Context, down *shell.Teardown, follow *indexer.Indexer) (failed chan error) {
	failed = make(chan error, 1)
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { failed <- follow.Run(following) }()
	down.Add("index", 10*time.Second, func(ctx context.Context) error {
		stop()
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return failed
}

// serve answers requests until it is torn down: those in hand before anything
// they need ends.
func serve(ctx context.Context, down *shell.Teardown, env shell.Env, service *api.Service) error {
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	down.Add("requests", time.Second, func(context.Context) error {
		end()
		return nil
	})
	endpoints, err := shell.NewAPI(requests, env, "events: query, get, correlation, replay, why, stats", nil)
	if err != nil {
		return err
	}
	down.Add("api", 5*time.Second, endpoints.Stop)
	return service.Serve(endpoints)
}

// opener opens the index in its own folder of dir, or in memory.
func opener(env shell.Env, dir string) indexer.Opener {
	o := index.Options{Dir: filepath.Join(dir, "event-index"), Log: env.Log}
	if dir == "" {
		o.FS, o.Dir = vfs.NewMem(), "event-index"
	}
	return func(discard bool) (index.Index, error) {
		o.Discard = discard
		ix, rebuilt, err := index.Open(o)
		if err != nil {
			return nil, err
		}
		if rebuilt {
			env.Log.Info("the event index was corrupt and is built anew", "dir", o.Dir)
		}
		return ix, nil
	}
}
