package keeper

import (
	"context"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// visits are the comparisons of runners with the tree that are under way, at most
// one of a runner: a slow one must not be asked for its list twice at once. Those
// of different runners do not wait for each other.
type visits struct {
	sync.WaitGroup
	mu sync.Mutex
	of map[string]*comparison
}

// comparison is a visit of a runner until all is done that follows from it.
type comparison struct {
	runner string
	visit  uint64
	end    context.CancelFunc

	// What follows is guarded by the mutex of the visits.

	// anew asks for another one when this is over.
	anew  bool
	stage contracts.ComparisonStage
	began time.Time
	// read is how many entries of the runner's list were read; problem is why it
	// does not go on.
	read    int
	problem error
	// warnAt is the age at which the operator is warned next.
	warnAt time.Duration
}

// overdueAfter is how old a comparison is when something is wrong.
const overdueAfter = 30 * time.Second

// begin returns a new comparison, which ends with the context, in place of that
// of an earlier visit; or nil when this visit is under way.
func (v *visits) begin(ctx context.Context, runner string, visit uint64, anew bool, now time.Time) (context.Context, *comparison) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old := v.of[runner]; old != nil {
		if old.visit == visit {
			old.anew = old.anew || anew
			return ctx, nil
		}
		old.end()
	}
	if v.of == nil {
		v.of = map[string]*comparison{}
	}
	ctx, end := context.WithCancel(ctx)
	c := &comparison{runner: runner, visit: visit, end: end}
	c.restart(now)
	v.of[runner] = c
	return ctx, c
}

// over ends a comparison and reports whether it must be made once more.
func (v *visits) over(c *comparison, now time.Time) (anew bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.anew && v.of[c.runner] == c {
		c.anew = false
		c.restart(now)
		return true
	}
	v.remove(c)
	return false
}

// part ends the comparison of a runner that has gone.
func (v *visits) part(runner string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.of[runner]; c != nil {
		v.remove(c)
	}
}

func (v *visits) remove(c *comparison) {
	c.end()
	if v.of[c.runner] == c {
		delete(v.of, c.runner)
	}
}

// enter notes the next stage. A list that is read again since the runner could
// not stop all begins another comparison.
func (v *visits) enter(c *comparison, stage contracts.ComparisonStage, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.stage == contracts.ComparisonStopping && stage == contracts.ComparisonReading {
		c.restart(now)
	}
	if c.stage != stage {
		c.stage, c.problem = stage, nil
	}
}

func (v *visits) note(c *comparison, problem error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.problem = problem
}

func (v *visits) progress(c *comparison, read int, problem error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.read, c.problem = read, problem
}

// views returns the comparisons by runner.
func (v *visits) views(now time.Time) map[string]contracts.Comparison {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]contracts.Comparison, len(v.of))
	for runner, c := range v.of {
		out[runner] = c.view(now)
	}
	return out
}

// overdue returns the comparisons that have taken too long and that the operator
// is to be warned of now: each again when it has taken twice as long.
func (v *visits) overdue(now time.Time) map[string]contracts.Comparison {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out map[string]contracts.Comparison
	for runner, c := range v.of {
		if view := c.view(now); view.Overdue && now.Sub(c.began) >= c.warnAt {
			c.warnAt = 2 * now.Sub(c.began)
			if out == nil {
				out = map[string]contracts.Comparison{}
			}
			out[runner] = view
		}
	}
	return out
}

// age is how old the oldest comparison is whose outcome is not known.
func (v *visits) age(now time.Time) (oldest time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.of {
		if c.stage != contracts.ComparisonStopping {
			oldest = max(oldest, now.Sub(c.began))
		}
	}
	return oldest
}

func (c *comparison) restart(now time.Time) {
	c.stage, c.began, c.read, c.problem, c.warnAt = contracts.ComparisonReading, now, 0, nil, overdueAfter
}

func (c *comparison) view(now time.Time) contracts.Comparison {
	out := contracts.Comparison{
		Since: c.began.UTC(), Stage: c.stage, Entries: c.read,
		Overdue: c.stage != contracts.ComparisonStopping && now.Sub(c.began) >= overdueAfter,
	}
	if c.problem != nil {
		out.Problem = contracts.Clip(c.problem.Error(), maxProblem)
	}
	return out
}

// maxProblem bounds what is shown of an error.
const maxProblem = 256
