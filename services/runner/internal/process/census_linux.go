package process

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Census finds the processes of programs. It looks through all processes of the
// host once for all that ask meanwhile.
type Census struct {
	mark string
	scan func() []procfs.Process

	mu   sync.Mutex
	next *look // begins when the one under way, if any, has ended

	walk  sync.Mutex // guards the rest
	ended time.Time  // the last walk
	took  time.Duration
}

// NewCensus makes a census that reads the named variables of the environments
// that programs were started with. The first of them is the mark: its value is
// another at every start, and what a program starts inherits it.
func NewCensus(vars ...string) *Census {
	look := procfs.Look{Vars: vars, FD: LockFD}
	return &Census{mark: vars[0], scan: func() []procfs.Process { return procfs.Scan(look) }}
}

// NewCensusOfOrphans makes a census that finds what is left of programs that have
// ended, among the descendants of the processes that roots returns: those that are
// the parents of what their descendants leave behind. That takes no longer on a
// host with many processes. Skip is true for the programs that live.
func NewCensusOfOrphans(roots func() []int, skip func(pid int) bool, vars ...string) *Census {
	look := procfs.Look{Vars: vars, FD: LockFD}
	return &Census{mark: vars[0], scan: func() []procfs.Process {
		found, err := procfs.ScanBelow(look, roots(), skip)
		if err != nil {
			return procfs.Scan(look)
		}
		return found
	}}
}

type look struct {
	once sync.Once
	saw  *Snapshot
}

// Take returns what runs now: the walk begins after the call.
func (c *Census) Take() *Snapshot {
	c.mu.Lock()
	l := c.next
	if l == nil {
		l = new(look)
		c.next = l
	}
	c.mu.Unlock()
	l.once.Do(func() {
		c.walk.Lock()
		defer c.walk.Unlock()
		// When many ask one after the other, half of the time goes into walks at
		// most, and each serves more of them.
		time.Sleep(c.took - time.Since(c.ended))
		c.mu.Lock()
		c.next = nil
		c.mu.Unlock()
		begin := time.Now()
		l.saw = newSnapshot(c.scan(), c.mark)
		c.ended = time.Now()
		c.took = c.ended.Sub(begin)
	})
	return l.saw
}

// Snapshot is what ran during one walk. It is not changed.
type Snapshot struct {
	epoch Epoch
	mark  string
	all   []procfs.Process
	// Places in all.
	pids     map[int]int
	children map[int][]int
	marked   map[string][]int
	sessions map[int][]int
	groups   map[int][]int
	holders  map[procfs.FileID][]int
}

// Tree names all processes of one start of a program.
type Tree struct {
	// Leader is the program itself, if it is known: with it come the session
	// and the process group that it began.
	Leader Identity
	// Mark is the value of the mark that all of them inherited, or empty.
	Mark string
	// Lock is the file that all of them inherited as LockFD, or empty.
	Lock string
	// Known are processes that were found before.
	Known []procfs.Stat
	// Narrow leaves out all but the session and the process group.
	Narrow bool
}

func newSnapshot(all []procfs.Process, mark string) *Snapshot {
	s := &Snapshot{all: all, mark: mark, pids: map[int]int{}, children: map[int][]int{}, marked: map[string][]int{}, sessions: map[int][]int{}, groups: map[int][]int{}, holders: map[procfs.FileID][]int{}}
	s.epoch, _ = CurrentEpoch() // without it no number proves anything
	for i, p := range all {
		if p.PID == os.Getpid() {
			continue
		}
		s.pids[p.PID] = i
		s.children[p.ParentPID] = append(s.children[p.ParentPID], i)
		if m := p.Vars[mark]; m != "" {
			s.marked[m] = append(s.marked[m], i)
		}
		s.sessions[p.Session] = append(s.sessions[p.Session], i)
		s.groups[p.Group] = append(s.groups[p.Group], i)
		if p.Holds != (procfs.FileID{}) {
			s.holders[p.Holds] = append(s.holders[p.Holds], i)
		}
	}
	return s
}

// Marked returns the processes that carry a mark, by mark.
func (s *Snapshot) Marked() map[string][]procfs.Process {
	out := make(map[string][]procfs.Process, len(s.marked))
	for m, places := range s.marked {
		for _, i := range places {
			out[m] = append(out[m], s.all[i])
		}
	}
	return out
}

// Of returns the live processes of a tree, and what descends from them, except
// what another start has marked. A process that left session and group, cleared
// its environment, closed the lock and lost its parent is not found.
func (s *Snapshot) Of(t Tree) []procfs.Stat {
	var found []procfs.Stat
	seen := map[int]bool{}
	add := func(places []int) {
		for _, i := range places {
			if !seen[i] {
				seen[i] = true
				found = append(found, s.all[i].Stat)
			}
		}
	}
	if s.began(t.Leader) {
		add(s.sessions[t.Leader.PID])
		add(s.groups[t.Leader.PID])
	}
	if t.Narrow {
		return found
	}
	if t.Mark != "" {
		add(s.marked[t.Mark])
	}
	for _, k := range t.Known {
		if i, ok := s.pids[k.PID]; ok && s.all[i].StartTime == k.StartTime {
			add([]int{i})
		}
	}
	if lock, err := procfs.Identify(t.Lock); t.Lock != "" && err == nil {
		add(slices.DeleteFunc(slices.Clone(s.holders[lock]), func(i int) bool { return !s.all[i].Kept(LockFD) }))
	}
	for i := 0; i < len(found); i++ {
		add(slices.DeleteFunc(slices.Clone(s.children[found[i].PID]), func(c int) bool {
			m := s.all[c].Vars[s.mark]
			return m != "" && m != t.Mark
		}))
	}
	return found
}

// began reports whether sessions and groups of the leader's number are the
// leader's: the number may be another process's by now, which has begun its own.
func (s *Snapshot) began(leader Identity) bool {
	if leader.PID == 0 || leader.Epoch == "" || s.epoch == "" || leader.Epoch.Ended(s.epoch) != "" {
		return false
	}
	for _, i := range s.groups[leader.PID] {
		if p := s.all[i]; p.PID == leader.PID && p.StartTime != leader.StartTime {
			return false
		}
	}
	return true
}

// Identity names a process of the snapshot beyond its end.
func (s *Snapshot) Identity(p procfs.Stat) Identity {
	return Identity{PID: p.PID, StartTime: p.StartTime, Epoch: s.epoch}
}
