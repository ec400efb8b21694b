// Package up runs a NATS server and all services in one process, each with a
// connection of its own, as if they were deployed apart: they know nothing of
// each other but what NATS carries.
//
// Services start in the order in which they need each other and stop in
// reverse. Stopping also stops the supervised agents, which the next start undoes;
// a process that is killed leaves them running, and its successor finds them
// again.
package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/natsd"
	"github.com/mistersmith/mistersmith/internal/shell"
)

// Options say what to run and where.
type Options struct {
	// Listen is where NATS clients connect, HOST:PORT; port 0 takes a free one.
	Listen string
	// StoreDir holds all that must survive.
	StoreDir string
	// HTTP is where health and metrics are served; empty for nowhere.
	HTTP string
	// Runner is the name of this host's runner.
	Runner string
	// PassEnv names variables of this process's environment that agents get.
	PassEnv []string
	// KeepAgents leaves agents running when everything else stops.
	KeepAgents bool
	File       *config.File
	// Stdout is where the output of agents is forwarded to if File says so, once all
	// serve.
	Stdout io.Writer
	// Reload has the file read again, and applied, each time that it gives
	// something.
	Reload <-chan struct{}
	Log    *slog.Logger
}

const (
	readyWithin   = 30 * time.Second
	stopWithin    = 15 * time.Second
	connectWithin = 5 * time.Second
)

// Run runs everything until ctx ends or a service fails. Once all serve it
// calls ready with the URL of the NATS server.
func Run(ctx context.Context, o Options, ready func(url string)) (err error) {
	var down shell.Teardown
	defer func() { err = errors.Join(err, down.Run(o.Log)) }()

	unlock, err := lockDir(o.StoreDir)
	if err != nil {
		return err
	}
	down.Add("store lock", time.Second, unlock)
	srv, err := natsd.Start(natsd.Options{Listen: o.Listen, StoreDir: filepath.Join(o.StoreDir, "nats"), Log: o.Log})
	if err != nil {
		return err
	}
	down.Add("nats-server", stopWithin, func(context.Context) error { srv.Shutdown(); return nil })

	serving := make(chan struct{})
	o.Stdout = gate{serving, o.Stdout}
	services := o.services()
	health := shell.NewHealth(names(services)...)
	metrics := shell.NewMetrics()
	if o.HTTP != "" {
		web, err := shell.ListenHTTP(o.HTTP, health, metrics)
		if err != nil {
			return err
		}
		down.Add("http", 2*time.Second, web.Close)
		o.Log.Info("health and metrics", "address", "http://"+web.Addr())
	}
	failed := make(chan error, len(services)+1)
	watching, enough := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := srv.Watch(watching); err != nil {
			failed <- err
		}
	}()
	down.Add("watch over nats-server", stopWithin, func(context.Context) error { enough(); <-watched; return nil })
	for _, s := range services {
		stop, err := s.start(srv.URL(), o.Log, metrics, health, failed)
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
		down.Add(s.name, s.stopWithin, stop)
		if err := waitReady(ctx, health, s.name, failed); err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
	}
	ready(srv.URL())
	close(serving)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// gate is a writer that waits until it is open: what ready prints comes first.
type gate struct {
	open <-chan struct{}
	w    io.Writer
}

func (g gate) Write(b []byte) (int, error) {
	<-g.open
	return g.w.Write(b)
}

// service is one part of the whole.
type service struct {
	name       string
	stopWithin time.Duration
	run        func(context.Context, shell.Env) error
}

// start runs the service and gives what stops it.
func (s service) start(url string, log *slog.Logger, metrics prometheus.Registerer, health *shell.Health, failed chan<- error) (stop func(context.Context) error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	instance := shell.NewInstance(s.name)
	nc, err := shell.NATSFlags{Server: url, Timeout: connectWithin}.Connect(ctx, instance, log)
	if err != nil {
		cancel()
		return nil, err
	}
	env, err := shell.NewEnv(ctx, s.name, instance, nc, log, metrics, health)
	if err != nil {
		cancel()
		nc.Close()
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		err := shell.Run(ctx, env, s.run)
		if ctx.Err() == nil {
			failed <- fmt.Errorf("%s ended: %w", s.name, errOr(err, errEnded))
		}
		done <- err
	}()
	return func(within context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-within.Done():
			return within.Err()
		}
	}, nil
}

var errEnded = errors.New("it returned although nobody had asked")

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// waitReady waits until a service serves.
func waitReady(ctx context.Context, health *shell.Health, name string, failed <-chan error) error {
	limit := time.NewTimer(readyWithin)
	defer limit.Stop()
	for {
		ready, changed := health.IsReady(name)
		if ready {
			return nil
		}
		select {
		case <-changed:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			if why := health.Why(name); why != "" {
				return fmt.Errorf("not ready after %s: %s", readyWithin, why)
			}
			return fmt.Errorf("not ready after %s", readyWithin)
		}
	}
}

func names(services []service) []string {
	var out []string
	for _, s := range services {
		out = append(out, s.name)
	}
	return out
}
