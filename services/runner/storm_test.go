package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/oldkernel"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// A storm kills the runner with -9 at random instants, of its own start and of
// agents' starts and ends, under 100 agents of which most end every few seconds,
// each in a way that it writes down before. None runs twice, no end is lost or
// told twice, each is told as it was, and those that live on are not disturbed.
func TestStorm(t *testing.T) {
	for name, kills := range map[string]int{thisKernel: 10, olderKernel: 20} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("E2E_ROUNDS") != "" { // task soak
				kills = 200
			}
			s := newStorm(t, name == olderKernel)
			s.rage(kills)
			s.judge()
		})
	}
}

const (
	thisKernel  = "this kernel"
	olderKernel = "an older kernel"

	stormAgents = 100
	stormCalm   = 10 // of these, this many live on
)

// stormScript holds a lock of its agent for its life, and says how it will end.
const stormScript = `exec 9>>lock.$SMITH_AGENT
flock -n 9 || echo "$SMITH_AGENT#$SMITH_INCARNATION" >>doubles
echo "$SMITH_INCARNATION $$" >>ran.$SMITH_AGENT
case $2 in live) exec sleep 100000 ;; esac
sleep $1 9>&-
echo "$SMITH_INCARNATION $2" >>ends.$SMITH_AGENT
case $2 in SIG*) kill -${2#SIG} $$ ;; *) exit $2 ;; esac`

type storm struct {
	*host
	older  bool
	agents map[string]*stormAgent
}

// stormAgent is an agent and what was told of its ends.
type stormAgent struct {
	name   string
	calm   bool
	starts uint64 // incarnations that were ordered
	ended  chan uint64

	mu   sync.Mutex
	told map[uint64]map[string]contracts.Exit // by incarnation and id of the event
}

func newStorm(t *testing.T, older bool) *storm {
	s := &storm{host: newHost(t), older: older, agents: map[string]*stormAgent{}}
	natstest.Streams(t, s.js)
	for i := range stormAgents {
		name := fmt.Sprint("a", i)
		s.agents[name] = &stormAgent{name: name, calm: i < stormCalm, ended: make(chan uint64, 10_000), told: map[uint64]map[string]contracts.Exit{}}
	}
	s.follow()
	return s
}

// follow collects what is told of ends.
func (s *storm) follow() {
	cons, err := s.js.OrderedConsumer(s.t.Context(), contracts.EventStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contracts.EventTypeWildcard(contracts.AgentFailed), contracts.EventTypeWildcard(contracts.AgentStopped)},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	following, err := cons.Consume(func(msg jetstream.Msg) {
		ev, err := contracts.DecodeEvent(msg.Subject(), msg.Data())
		if err != nil {
			s.t.Error(err)
			return
		}
		var data struct {
			Incarnation uint64          `json:"incarnation"`
			Exit        *contracts.Exit `json:"exit"`
		}
		if err := json.Unmarshal(ev.Data, &data); err != nil || data.Exit == nil {
			s.t.Errorf("event %+v: %v", ev, err)
			return
		}
		a := s.agents[ev.Entity]
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.told[data.Incarnation] == nil {
			a.told[data.Incarnation] = map[string]contracts.Exit{}
			a.ended <- data.Incarnation
		}
		a.told[data.Incarnation][ev.ID] = *data.Exit
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(following.Stop)
}

// rage kills so many runners while all agents are restarted whenever they end.
func (s *storm) rage(kills int) {
	// Agents are started until the last kill, and then their ends awaited.
	starting, enough := context.WithCancel(s.t.Context())
	defer enough()
	var all sync.WaitGroup
	for _, a := range s.agents {
		all.Go(func() { s.keep(starting, a) })
	}
	for range kills {
		kill := s.runner()
		pause(time.Duration(rand.IntN(900)) * time.Millisecond)
		kill()
		pause(time.Duration(rand.IntN(300)) * time.Millisecond)
	}
	s.runner()
	s.eventually("every agent's run", func() bool {
		for _, a := range s.agents {
			a.mu.Lock()
			told := len(a.told)
			a.mu.Unlock()
			if a.calm && len(s.lines("ran."+a.name)) == 0 || !a.calm && told == 0 {
				return false
			}
		}
		return true
	})
	enough()
	all.Wait()
}

func pause(d time.Duration) { <-time.After(d) }

// runner starts a runner process. Nobody waits until it is ready.
func (s *storm) runner() (kill func()) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runnerMode+"="+s.server.URL(), runnerState+"="+s.dir)
	cmd.Dir = s.dir
	if s.older {
		oldkernel.Wrap(cmd)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.t.Cleanup(kill)
	return kill
}

// keep starts an agent again whenever it has ended.
func (s *storm) keep(starting context.Context, a *stormAgent) {
	patience, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	for n := uint64(1); starting.Err() == nil; n++ {
		runs, ok := s.start(starting, a, n)
		if !ok || a.calm && runs {
			return
		}
		a.starts = n
		for ended := uint64(0); ended != n; {
			select {
			case ended = <-a.ended:
			case <-patience.Done():
				s.t.Errorf("%s#%d: its end is not told", a.name, n)
				return
			}
		}
	}
}

// start orders a start until a runner has answered, and reports whether it runs then.
func (s *storm) start(ctx context.Context, a *stormAgent, n uint64) (runs, answered bool) {
	how := "live"
	if !a.calm {
		how = []string{"0", "1", "7", "77", "255", "SIGSEGV", "SIGKILL", "SIGTERM"}[rand.IntN(8)]
	}
	body, err := json.Marshal(contracts.StartCommand{
		Agent: a.name, Incarnation: n, Command: []string{"sh", "-c", stormScript, "sh", fmt.Sprintf("%.2f", 1+3*rand.Float64()), how},
	})
	if err != nil {
		s.t.Error(err)
		return false, false
	}
	for {
		msg, err := s.nc.Request(contracts.RunnerSubject("r1", "start"), body, 5*time.Second)
		var reply contracts.RunnerReply
		if err == nil {
			err = json.Unmarshal(msg.Data, &reply)
		}
		if err == nil && (reply.Code == contracts.RunnerOK || reply.Code == contracts.RunnerAlreadyExited) {
			return reply.Code == contracts.RunnerOK, true
		}
		if err == nil && reply.Code != contracts.RunnerNoResources {
			s.t.Errorf("%s#%d: %+v", a.name, n, reply)
			return false, false
		}
		if ctx.Err() != nil { // it may have been started by a runner that was killed
			a.starts = n
			return false, false
		}
		pause(20 * time.Millisecond)
	}
}

// judge compares what was told with what the agents wrote down.
func (s *storm) judge() {
	if b, err := os.ReadFile(filepath.Join(s.dir, "doubles")); err == nil {
		s.t.Errorf("ran twice:\n%s", b)
	}
	ends, never := 0, 0
	for _, a := range s.agents {
		ran, ended := s.lines("ran."+a.name), s.lines("ends."+a.name)
		if a.calm {
			// It is the first start that a runner lived to make.
			if pid := slices.Collect(maps.Values(ran)); len(pid) != 1 || !alive(atoi(s.t, pid[0])) {
				s.t.Errorf("%s was disturbed: %v", a.name, ran)
			}
			continue
		}
		s.eventually("the last end of "+a.name, func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.told) >= len(s.lines("ends."+a.name))
		})
		a.mu.Lock()
		for n := uint64(1); n <= a.starts; n++ {
			told := a.told[n]
			switch {
			case len(told) > 1:
				s.t.Errorf("%s#%d: told %d times: %+v", a.name, n, len(told), told)
			case len(told) == 0 && ran[n] != "":
				s.t.Errorf("%s#%d: ran and its end was not told", a.name, n)
			case len(told) == 0: // the last start, which no runner answered
			case ended[n] == "" && ran[n] == "":
				never++
			default:
				ends++
				for _, exit := range told {
					if got := stormExit(exit); got != ended[n] {
						s.t.Errorf("%s#%d: ended with %q, told as %s: %+v", a.name, n, ended[n], got, exit)
					}
				}
			}
		}
		a.mu.Unlock()
	}
	if ends < stormAgents {
		s.t.Errorf("only %d ends; the test tests little", ends)
	}
	s.t.Logf("%d ends, each told once and as it was; %d starts that a runner did not live to make", ends, never)
}

// stormExit is an exit as the script writes it.
func stormExit(exit contracts.Exit) string {
	switch {
	case exit.Unknown:
		return "unknown"
	case exit.Signal != "":
		return exit.Signal
	}
	return fmt.Sprint(exit.Code)
}

// lines reads what agents wrote of their incarnations.
func (s *storm) lines(file string) map[uint64]string {
	b, _ := os.ReadFile(filepath.Join(s.dir, file))
	found := map[uint64]string{}
	for line := range strings.Lines(string(b)) {
		var n uint64
		var what string
		if _, err := fmt.Sscan(line, &n, &what); err != nil {
			s.t.Errorf("%s: %q: %v", file, line, err)
		}
		if found[n] != "" {
			s.t.Errorf("%s: incarnation %d twice", file, n)
		}
		found[n] = what
	}
	return found
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Error(err)
	}
	return n
}
