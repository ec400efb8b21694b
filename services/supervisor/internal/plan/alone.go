package plan

import (
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// alone marks the changes that restart a member of a group without a sibling that a
// failure would restart with it. One that is down now and another program, too, is
// restarted with it as far as that goes.
func (c *comparison) alone(changes []contracts.PlannedChange) {
	restarted := map[string]bool{}
	for _, p := range changes {
		restarted[p.Node] = p.Interrupts
	}
	for i := range changes {
		p := &changes[i]
		if p.Then != contracts.WillRestart {
			continue
		}
		spec, _, _ := c.tree.Lookup(p.Node)
		s, _, _ := c.tree.Lookup(spec.Parent)
		siblings := c.staying(spec.Parent)
		place := slices.Index(siblings, p.Node)
		for other, id := range siblings {
			if !restarted[id] && s.Supervisor.Strategy.Group() && s.Supervisor.Strategy.Takes(int64(place), int64(other)) {
				p.Alone = s.ID
			}
		}
	}
}
