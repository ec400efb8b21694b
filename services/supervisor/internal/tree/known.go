package tree

import (
	"slices"
	"strings"
)

// KnowRunners says which runners are available, without anything coming of it:
// for a tree that is taken up again in the middle of its past, where the news
// of them has been decided upon already.
func (t *Tree) KnowRunners(runners []Runner) {
	t.runners = slices.Clone(runners)
	slices.SortFunc(t.runners, func(a, b Runner) int { return strings.Compare(a.Name, b.Name) })
}
