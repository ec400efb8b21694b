package keeper

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// stops are the ends of stale incarnations on one runner. Each is asked for
// once, and some side by side, so that one that does not end does not hold up the
// others.
type stops struct {
	k      *Keeper
	runner string
	asked  map[leader.Fence]bool
	wg     sync.WaitGroup
	mu     sync.Mutex
	ended  map[leader.Fence]bool
	failed error
}

// stopsAtOnce is how many incarnations of a runner are stopped at the same time.
const stopsAtOnce = 8

func newStops(k *Keeper, runner string) *stops {
	return &stops{k: k, runner: runner, asked: map[leader.Fence]bool{}, ended: map[leader.Fence]bool{}}
}

// begin has those stopped that were not asked for before.
func (s *stops) begin(ctx context.Context, stale []leader.Fence) {
	fences := make(chan leader.Fence, len(stale))
	for _, f := range stale {
		if !s.asked[f] {
			s.asked[f] = true
			fences <- f
		}
	}
	close(fences)
	for range min(stopsAtOnce, len(fences)) {
		s.wg.Go(func() {
			for f := range fences {
				s.stop(ctx, f)
			}
		})
	}
}

func (s *stops) stop(ctx context.Context, f leader.Fence) {
	k := s.k
	k.env.Log.Warn("stopping an agent that is no longer wanted", "tree", k.opt.Tree, "runner", s.runner, "agent", f.Agent, "incarnation", f.Incarnation)
	// At once: another may be doing its work already.
	err := k.commands.Stop(ctx, s.runner, contracts.StopCommand{Agent: f.Agent, Incarnation: f.Incarnation, Kill: true}, 0)
	switch {
	case err == nil:
		s.mu.Lock()
		s.ended[f] = true
		s.mu.Unlock()
		k.admitVisited(ctx, visited{runner: s.runner, ended: f})
		return
	case ctx.Err() != nil:
		return
	}
	k.env.Log.Warn("agent that is no longer wanted is not stopped yet; this is repeated", "tree", k.opt.Tree, "runner", s.runner,
		"agent", f.Agent, "incarnation", f.Incarnation, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = fmt.Errorf("%w: %s#%d: %w", errNotStopped, f.Agent, f.Incarnation, err)
}

// correct marks what has ended by order since a list was read.
func (s *stops) correct(held []tree.Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, h := range held {
		if s.ended[leader.Fence{Agent: h.Agent, Incarnation: h.Incarnation}] {
			held[i].State = tree.HeldEnded
		}
	}
}

// within returns when each has been tried, or d is over.
func (s *stops) within(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	go func() {
		s.wg.Wait()
		cancel()
	}()
	<-ctx.Done()
}

// wait returns when each has been tried, and the error of one that failed.
func (s *stops) wait() error {
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
