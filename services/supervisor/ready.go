package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/lease"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/storage"
)

// ErrStuck tells that the supervisor could not do its work for a minute although
// the NATS server can be reached.
var ErrStuck = errors.New("stuck")

const lookEvery = 500 * time.Millisecond

// readiness makes a supervisor that decides ready while it can store decisions
// and read the log.
type readiness struct {
	env   shell.Env
	tree  string
	watch *storage.Watch
	term  *lease.Term
	// mayEnd makes it end the process when trouble does not pass.
	mayEnd bool
	// serves is closed once the supervisor decides; until then it is not ready.
	serves chan struct{}
}

// begin follows the readiness until the supervisor's life ends, or ends that when
// it is stuck. The function that it returns waits for the former, and says why in
// the latter case.
func (r *readiness) begin(life context.Context, end context.CancelFunc) (stuck func() error) {
	followed := make(chan error, 1)
	go func() {
		err := r.follow(life)
		end()
		followed <- err
	}()
	return func() error {
		end()
		return <-followed
	}
}

// follow looks after the readiness until ctx ends, or until the process should
// end, which is the error.
func (r *readiness) follow(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	connected, reconnects := time.Now(), r.env.NC.Stats().Reconnects
	serves, serving, troubled := r.serves, false, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-serves:
			serves, serving = nil, true
			if !troubled {
				r.env.Ready()
			}
			continue
		case <-tick.C:
		}
		now := time.Now()
		if n := r.env.NC.Stats().Reconnects; n != reconnects || !r.env.NC.IsConnected() {
			connected, reconnects = now, n
		}
		r.lookAtLease(now)
		t, trouble := r.watch.Trouble(now)
		switch {
		case trouble && r.mayEnd && t.Hopeless(now, connected):
			return fmt.Errorf("%w: supervisor %s could not %s of tree %s for %s although the NATS server can be reached; look at the server's disk and log; this process ends so that it is started again",
				ErrStuck, r.env.Instance, t.Work, r.tree, now.Sub(t.Since).Round(time.Second))
		case trouble && !troubled:
			r.env.Log.Error("not ready: it cannot "+t.Work.String(), "tree", r.tree, "since", t.Since)
			r.env.Health.Unready(r.env.Service)
		case !trouble && troubled:
			r.env.Log.Info("ready again", "tree", r.tree)
			if serving {
				r.env.Ready()
			}
		}
		troubled = trouble
	}
}

// lookAtLease notes whether the lease is being renewed.
func (r *readiness) lookAtLease(now time.Time) {
	if last := r.term.Renewed(); now.Sub(last) > lease.TTL {
		r.watch.Begin(storage.Renew, last)
	} else {
		r.watch.Done(storage.Renew)
	}
}
