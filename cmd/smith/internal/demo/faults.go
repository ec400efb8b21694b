package demo

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// fault is something that goes wrong, and what must come of it.
type fault struct {
	name string
	// victim is the agent it befalls; choose picks one when it is not fixed.
	victim string
	choose func(ctx context.Context, s *stage) (victim, note string, err error)
	// inject makes it happen.
	inject func(s *stage, victim string, pid int) error
	// restarted are the agents that must come back in a later incarnation; nil
	// means the victim alone. All others must go on undisturbed.
	restarted []string
	// incarnations is how many later the victim must be; 0 leaves it open.
	incarnations uint64
	// escalates is set when the supervisor must have given up on the way,
	// reassigns when tasks of the victim must have gone to others.
	escalates, reassigns bool
}

func signal(sig syscall.Signal) func(*stage, string, int) error {
	return func(_ *stage, victim string, pid int) error {
		if err := syscall.Kill(pid, sig); err != nil {
			return fmt.Errorf("%s to %s (pid %d): %w", sig, victim, pid, err)
		}
		return nil
	}
}

// crashes is how many restarts of the unstable agent fail: with the kill before
// them, one failure more than its supervisor allows.
const crashes = 2

func faults() []fault {
	return []fault{
		{
			name: "kill -9 under one_for_one", victim: "crawler-1",
			inject: signal(syscall.SIGKILL), incarnations: 1,
		},
		{
			name: "SIGSTOP: it hangs", victim: "crawler-2",
			inject: signal(syscall.SIGSTOP), incarnations: 1,
		},
		{
			name: "kill -9 under one_for_all", victim: "coder",
			inject: signal(syscall.SIGKILL), restarted: []string{"planner", "coder"}, incarnations: 1,
		},
		{
			name: "kill -9 amid rest_for_one", victim: "transform",
			inject: signal(syscall.SIGKILL), restarted: []string{"transform", "load"}, incarnations: 1,
		},
		{
			name: "crashes at every start", victim: "flaky",
			inject: func(s *stage, victim string, pid int) error {
				if err := tellToCrash(s.dir, victim, crashes); err != nil {
					return err
				}
				return signal(syscall.SIGKILL)(s, victim, pid)
			},
			restarted: []string{"flaky", "neighbour"}, escalates: true,
		},
		{
			name: "kill -9 with tasks in hand", choose: busyCrawler,
			inject: signal(syscall.SIGKILL), incarnations: 1, reassigns: true,
		},
	}
}

// busyCrawler gives the crawlers more than enough to do, and waits for one that
// holds two of these tasks: each takes so long that it is not done before the
// kill.
func busyCrawler(ctx context.Context, s *stage) (victim, note string, err error) {
	long := map[string]bool{}
	for range 12 {
		id, err := s.load.submit(ctx, "research", 1500*time.Millisecond)
		if err != nil {
			return "", "", err
		}
		long[id] = true
	}
	held := 0
	err = s.seen.until(ctx, func() bool {
		victim, held = s.seen.holder([]string{"crawler-1", "crawler-2", "crawler-3", "crawler-4"}, 2, long)
		return victim != ""
	})
	return victim, ", which holds " + tasks(held), err
}

// faultWithin bounds how long one fault may take to be healed.
const faultWithin = 20 * time.Second

// suffer lets a fault happen and watches what comes of it.
func (s *stage) suffer(ctx context.Context, f fault) (FaultResult, error) {
	ctx, cancel := context.WithTimeout(ctx, faultWithin)
	defer cancel()
	victim, note := f.victim, ""
	if f.choose != nil {
		var err error
		if victim, note, err = f.choose(ctx, s); err != nil {
			return FaultResult{}, fmt.Errorf("%s: choose whom: %w", f.name, err)
		}
	}
	concerned := f.restarted
	if concerned == nil {
		concerned = []string{victim}
	}
	before := s.seen.incarnations()
	pid := s.seen.pid(victim)
	s.say("✗ %s: %s (pid %d)%s", f.name, victim, pid, note)
	begin := time.Now()
	if err := f.inject(s, victim, pid); err != nil {
		return FaultResult{}, err
	}
	r := FaultResult{
		Fault: f.name, Agent: victim,
		Before: pick(before, concerned), Began: begin,
	}
	err := s.heal(ctx, f, &r, victim, concerned, before)
	r.Decision = s.seen.decided(r.Began)
	s.seen.mu.Lock()
	r.Reassigned = s.seen.takenFrom(victim, r.Began)
	s.seen.mu.Unlock()
	now := s.seen.incarnations()
	switch moved := s.restless(before); {
	case err != nil:
		r.Problem = err.Error()
	case moved != "":
		r.Problem = moved
	default:
		r.Problem = f.judge(victim, concerned, before, now)
	}
	r.After, s.settled = pick(now, concerned), now
	r.OK = r.Problem == ""
	s.outcome(r)
	return r, nil
}

// heal waits until the failure was found and everyone concerned runs again.
func (s *stage) heal(ctx context.Context, f fault, r *FaultResult, victim string, concerned []string, before map[string]uint64) error {
	err := s.seen.until(ctx, func() bool {
		ev, data, found := s.seen.failure(victim, before[victim])
		if found {
			r.Evidence, r.Detect, r.FailureEvent = evidence(data), ev.Time.Sub(r.Began), ev.ID
		}
		return found
	})
	if err != nil {
		return fmt.Errorf("not found within %s", faultWithin)
	}
	s.say("  found after %s: %s", ms(r.Detect), r.Evidence)
	err = s.seen.until(ctx, func() bool {
		if f.escalates && !s.seen.saw(contracts.TreeEscalated, r.Began) || f.reassigns && s.seen.takenFrom(victim, r.Began) == 0 {
			return false
		}
		var last time.Time
		for _, agent := range concerned {
			v := s.seen.running[agent]
			if v.incarnation <= before[agent] {
				return false
			}
			if v.at.After(last) {
				last = v.at
			}
		}
		r.Recover = last.Sub(r.Began)
		return true
	})
	if err != nil {
		return fmt.Errorf("not running again within %s", faultWithin)
	}
	return nil
}

// restless tells who was restarted since the fault before, though nothing
// happened to it.
func (s *stage) restless(now map[string]uint64) string {
	for agent, n := range s.settled {
		if now[agent] != n {
			return fmt.Sprintf("%s went from incarnation %d to %d though nothing had happened to it", agent, n, now[agent])
		}
	}
	return ""
}

// judge compares what happened with what the strategy demands.
func (f fault) judge(victim string, concerned []string, before, now map[string]uint64) string {
	if want := before[victim] + f.incarnations; f.incarnations > 0 && now[victim] != want {
		return fmt.Sprintf("%s is at incarnation %d, not %d", victim, now[victim], want)
	}
	affected := map[string]bool{}
	for _, agent := range concerned {
		affected[agent] = true
	}
	for agent, n := range before {
		if !affected[agent] && now[agent] != n {
			return fmt.Sprintf("%s was restarted though the strategy leaves it alone", agent)
		}
	}
	return ""
}

func evidence(d contracts.AgentFailedData) string {
	switch {
	case d.Exit != nil:
		return "exit: " + describe.Exit(*d.Exit)
	case d.Silence != nil:
		return fmt.Sprintf("silence of %s (%s)", ms(d.Silence.Elapsed.D()), d.Silence.Rule)
	default:
		return string(d.Reason)
	}
}

func pick(from map[string]uint64, agents []string) map[string]uint64 {
	out := map[string]uint64{}
	for _, a := range agents {
		out[a] = from[a]
	}
	return out
}
