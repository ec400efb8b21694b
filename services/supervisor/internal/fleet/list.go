package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// maxListed bounds the entries of one runner's list. A tree has at most 100,000
// agents; a runner also remembers some that have ended.
const maxListed = 200_000

// Holdings are all that a runner has.
type Holdings struct {
	Agents []contracts.RunnerAgent
	// Term is the highest that any supervisor has named to it.
	Term uint64
	// Rejected are the entries that were set aside.
	Rejected []error
}

// listing is a runner's list while it is read page by page. What changes at the
// runner meanwhile is in the pages that follow, or is not.
type listing struct {
	Holdings
	runner string
	// after is the last agent that was read.
	after string
	over  bool
}

// newListing returns the beginning of a runner's list.
func newListing(runner string) *listing { return &listing{runner: runner} }

// Over reports whether the list has been read to its end.
func (l *listing) Over() bool { return l.over }

// Read is the number of entries that were read.
func (l *listing) Read() int { return len(l.Agents) + len(l.Rejected) }

// Add appends the page that follows. A page that is refused with
// [contracts.ErrRunnerList] changes nothing: it does not continue the list, and
// to conclude from the rest that agents are missing would start them twice.
func (l *listing) Add(page contracts.RunnerList, rejected []error) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w %s: %s", contracts.ErrRunnerList, l.runner, fmt.Sprintf(format, args...))
	}
	last := l.after
	for _, a := range page.Agents {
		if l.after != "" && a.Agent <= l.after {
			return refuse("the page behind agent %s names %s; pages must be ordered by name", l.after, a.Agent)
		}
		last = max(last, a.Agent)
	}
	switch n := l.Read() + len(page.Agents) + len(rejected); {
	case n > maxListed:
		return refuse("it has more than %d entries; use more runners with fewer agents each", maxListed)
	case page.More && last == l.after:
		return refuse("the page behind %d entries has no valid one, and says that more follow", l.Read())
	}
	l.Agents = append(l.Agents, page.Agents...)
	l.Rejected = append(l.Rejected, rejected...)
	l.Term = max(l.Term, page.Term)
	l.after, l.over = last, !page.More
	return nil
}

const (
	// pageTimeout bounds one request for a page; a runner makes one in
	// milliseconds, but its host may be busy with the agents themselves.
	pageTimeout = 10 * time.Second
	// pageTries bounds how often one page is asked for before the list is read
	// again from its beginning: by then it is old.
	pageTries = 10
)

// List asks a runner what it has, and to take no more starts from senders that
// know less of the tree than this side does: what is under way from before can
// then not arrive behind the list. A page that is not answered is asked for
// again; those before it are not. Progress learns how much was read, and why no
// more of it, which may be nil.
func (c *Commander) List(ctx context.Context, runner string, progress func(read int, problem error)) (Holdings, error) {
	const first, most = 20 * time.Millisecond, time.Second
	l := newListing(runner)
	for tries, wait := 0, first; !l.Over(); {
		err := c.page(ctx, l)
		progress(l.Read(), err)
		if err == nil {
			tries, wait = 0, first
			continue
		}
		if !guard.Rejected(err) { // else it was not asked
			tries++
		}
		if tries == pageTries || ctx.Err() != nil {
			return Holdings{}, err
		}
		_ = shell.Pause(ctx, wait)
		wait = min(2*wait, most)
	}
	return l.Holdings, nil
}

// page reads one page.
func (c *Commander) page(ctx context.Context, l *listing) error {
	cmd := contracts.ListCommand{Term: c.term.Load(), After: l.after}
	raw, err := ask[json.RawMessage](ctx, c, c.line(l.runner), l.runner, "list", asJSON(cmd), pageTimeout)
	if err != nil {
		return err
	}
	page, rejected, err := contracts.DecodeRunnerList(l.runner, raw)
	if err != nil {
		return err
	}
	return l.Add(page, rejected)
}
