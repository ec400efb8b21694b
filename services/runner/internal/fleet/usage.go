package fleet

import (
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// AddUsage adds to the entries of a list what the agents use that run. One list is
// made at a time, so that nobody who asks again and again takes more than a core.
func (f *Fleet) AddUsage(list []contracts.RunnerAgent) {
	f.surveys.Lock()
	defer f.surveys.Unlock()
	for i := range list {
		if list[i].State != contracts.AgentExited && f.ctx.Err() == nil {
			list[i].Usage = f.usage(list[i].Agent)
		}
	}
}

// usage returns what an agent uses, nil where its program does not run.
func (f *Fleet) usage(name string) *contracts.Usage {
	f.mu.Lock()
	a := f.agents[name]
	f.mu.Unlock()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	p, up := a.proc, a.rec.Up()
	a.mu.Unlock()
	if p == nil || !up {
		return nil
	}
	id := p.Identity()
	u, err := procfs.UsageOf(id.PID)
	if err != nil {
		return nil // it has just ended
	}
	return &contracts.Usage{
		Uptime: contracts.Duration(id.Age()), CPU: contracts.Duration(u.CPU), Memory: u.Resident, Processes: u.Processes,
	}
}
