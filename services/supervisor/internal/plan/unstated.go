package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// maxNamed bounds the agents that a message names.
const maxNamed = 3

// Unstated returns why a file that does not say which children the tree has cannot
// take the place of the configuration of a snapshot: it would remove every
// configured agent. That is what a file looks like that an editor or a full disk has
// emptied. It returns "" for a tree without configured agents, to which such a file
// does nothing.
func Unstated(s tree.Snapshot) string {
	var agents []string
	for _, id := range slices.Sorted(maps.Keys(s.Nodes)) {
		if r := s.Nodes[id]; r.Spec.Agent != nil && !r.Spec.Dynamic && !r.State.Discarded() {
			agents = append(agents, id)
		}
	}
	if len(agents) == 0 {
		return ""
	}
	named := strings.Join(agents[:min(len(agents), maxNamed)], ", ")
	if more := len(agents) - maxNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	count := fmt.Sprintf("all %d agents", len(agents))
	if len(agents) == 1 {
		count = "the only agent"
	}
	return fmt.Sprintf("the file does not say what the tree has, so it would remove %s that the configuration in force has (%s); nothing is changed. "+
		"If the file was emptied or cut off, restore it; if they are to go, write \"tree: []\" under supervision_tree", count, named)
}
