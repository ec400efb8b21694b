package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/keeper"
)

// configuration returns a file as the keeper uses it.
func configuration(f *config.File) (keeper.Configuration, error) {
	all, err := specs(f)
	if err != nil {
		return keeper.Configuration{}, err
	}
	return keeper.Configuration{File: f, Source: config.SourceOf(f.Path), Specs: all, Environments: environments(f), Sections: sections(f)}, nil
}

// readConfiguration reads a file that was sent, with what overrides settings in
// this process's environment, as for its own.
func readConfiguration(name, text string) (keeper.Configuration, error) {
	f, err := config.ParseEnv(name, []byte(text), os.Environ())
	if err != nil {
		return keeper.Configuration{}, err
	}
	return configuration(f)
}

// sections are digests of the parts of a file that services read only when they
// start.
func sections(f *config.File) map[string]string {
	thresholds := map[string][2]float64{}
	for _, a := range f.Tree.Agents() {
		if a.PhiThreshold != f.FailureDetection.PhiThreshold || a.FailureThreshold != f.FailureDetection.FailureThreshold {
			thresholds[a.Name] = [2]float64{a.PhiThreshold, float64(a.FailureThreshold)}
		}
	}
	out := map[string]string{}
	for name, part := range map[string]any{
		"failure_detection": f.FailureDetection, "thresholds of agents": thresholds, "synadia": f.Synadia, "circuit_breakers": f.CircuitBreakers,
		"bulkheads": f.Bulkheads, "retries": f.Retries, "timeouts": f.Timeouts, "routing": f.Routing, "event_store": f.EventStore, "runner": f.Runner,
		"shutdown": f.Shutdown, "limits": f.Limits,
	} {
		raw, err := json.Marshal(part)
		if err != nil {
			continue // of such data there is always JSON
		}
		sum := sha256.Sum256(raw)
		out[name] = hex.EncodeToString(sum[:4])
	}
	return out
}

// reader re-reads the supervisor's own file and offers it to whoever decides.
type reader struct {
	env  shell.Env
	tree string
	// own is the file as it was last read.
	own atomic.Pointer[config.File]
	// leads is the keeper while this supervisor decides.
	leads atomic.Pointer[keeper.Keeper]
}

// follow re-reads the file each time that it is told to, until ctx ends.
func (r *reader) follow(ctx context.Context, reload <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			r.reload(ctx)
		}
	}
}

// reload has the file applied as it is now. On any mistake nothing changes.
func (r *reader) reload(ctx context.Context) {
	path := r.own.Load().Path
	if path == "" {
		r.env.Log.Warn("no configuration to read again: the supervisor was started without a file", "tree", r.tree)
		return
	}
	f, err := config.Load(path)
	if err != nil {
		var all config.Errors
		if !errors.As(err, &all) {
			r.env.Log.Error("configuration not read; the one in force stays", "tree", r.tree, "error", err)
		}
		for _, p := range all {
			r.env.Log.Error("configuration refused; the one in force stays", "tree", r.tree, "error", p)
		}
		return
	}
	if f.Tree.Name == r.tree {
		r.own.Store(f)
	}
	if err := r.offer(ctx, f, false); err != nil && ctx.Err() == nil {
		r.env.Log.Error("configuration not applied", "tree", r.tree, "error", err)
	}
}

// join offers the file to the supervisor that decides, once it answers. That may
// be this one by then, if what seemed to be another was a process that had died.
func (r *reader) join(ctx context.Context) {
	const patience, pause = time.Minute, time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	own := r.own.Load()
	if own.Path == "" {
		return
	}
	for {
		err := r.offer(ctx, own, true)
		var refused *shell.APIError
		if err == nil {
			return
		}
		if errors.As(err, &refused) && refused.Code != contracts.CodeNotReady || shell.Pause(ctx, pause) != nil {
			r.env.Log.Warn("the supervisor that decides does not take note of this one's file", "tree", r.tree, "error", err)
			return
		}
	}
}

// offer has a configuration applied by the supervisor that decides, and logs what
// comes of it.
func (r *reader) offer(ctx context.Context, f *config.File, joining bool) error {
	req := contracts.ConfigRequest{
		ConfigText: contracts.ConfigText{Config: f.Text()}, Name: f.Path, Source: config.SourceOf(f.Path), Joining: joining, Reason: "read by supervisor " + r.env.Instance,
	}
	ctx, cancel := context.WithTimeout(ctx, shell.RequestTimeout)
	defer cancel()
	k := r.leads.Load()
	if k != nil {
		p, err := k.Apply(ctx, req)
		if err == nil {
			keeper.ReportPlan(r.env.Log, p)
		}
		return err
	}
	packed, err := contracts.PackConfig(f.Text())
	if err != nil {
		return fmt.Errorf("this supervisor stands by, and the one that decides cannot be sent the file: %w; have it read the file there, with SIGHUP", err)
	}
	req.ConfigText = packed
	p, err := shell.Call[contracts.ConfigPlan](ctx, r.env.NC, contracts.ServiceSubject(contracts.ServiceSupervisor, "apply"), req)
	if err == nil {
		keeper.ReportPlan(r.env.Log, p)
	}
	return err
}
