package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// takeoverConfig has, beside a group that can be disturbed, an agent that ends
// again and again, so that there is always something to decide.
var takeoverConfig = strings.Replace(groupConfig, "max_restarts: 100,", "max_restarts: 10000,", 1) + `
        - {name: loop, type: coder, heartbeats: runner, heartbeat_interval: 200ms, stabilisation: 10ms, command: [sh, -c, "sleep 0.2; exit 1"]}
`

// takeoverWithin is how long a tree may be without a supervisor.
const takeoverWithin = 3 * time.Second

// supervisor starts one more supervisor, which reaches NATS at url.
func (s *system) supervisor(name, url string) {
	s.t.Helper()
	s.http[name] = fmt.Sprintf("127.0.0.1:%d", freePort(s.t))
	s.services[name] = start(s.t, bin("supervisor"), nil,
		"--server", url, "--http", s.http[name], "--config", s.dir+"/supervision-config.yaml", "--instance", name)
	s.waitReady(name)
}

// deciding waits until somebody else than before decides about the tree and
// answers for it, and gives who.
func (s *system) deciding(before string) string {
	s.t.Helper()
	var who string
	eventually(s.t, 15*time.Second, "another supervisor than "+before+" to decide", func() bool {
		var reply contracts.TreeReply
		msg, err := s.nc.Request("smith.supervisor.tree", []byte("{}"), 50*time.Millisecond)
		if err != nil || json.Unmarshal(msg.Data, &reply) != nil {
			return false
		}
		who = reply.Supervisor
		return who != "" && who != before
	})
	return who
}

// decidedBy are the decisions of a supervisor that were made after a time.
func (s *system) decidedBy(who string, after time.Time) []contracts.Event {
	var out []contracts.Event
	for _, ev := range s.events() {
		if ev.Type.Family() == contracts.FamilyTree && ev.Source == "supervisor/"+who && ev.Time.After(after) {
			out = append(out, ev)
		}
	}
	return out
}

// inTime checks by its own first decision when a supervisor took over. When it was
// seen to answer includes how long this process took to look.
func (s *system) inTime(who string, begin time.Time) {
	s.t.Helper()
	decided := s.decidedBy(who, begin)
	if len(decided) == 0 {
		s.t.Fatalf("%s answers and has decided nothing", who)
	}
	took := decided[0].Time.Sub(begin)
	s.t.Logf("%s has taken over after %s", who, took.Round(time.Millisecond))
	if took > takeoverWithin {
		s.t.Errorf("taken over after %s; at most %s", took, takeoverWithin)
	}
}

// superseded waits for the event by which a supervisor says that another decides.
func (s *system) superseded(who string) {
	s.t.Helper()
	eventually(s.t, 10*time.Second, who+" to report that it is superseded", func() bool {
		for _, ev := range s.events() {
			if ev.Type != contracts.SystemHealthCheckFailed || ev.Source != "supervisor/"+who {
				continue
			}
			if d, err := contracts.DecodeData[contracts.SystemHealthData](ev); err == nil && d.Check == "fence" && strings.HasPrefix(d.Detail, "superseded") {
				return true
			}
		}
		return false
	})
}

// exposes tells whether a line is among a service's metrics.
func (s *system) exposes(service, line string) bool {
	s.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.http[service] + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.Contains(strings.Split(string(body), "\n"), line)
}

// disturb has every member of the group restarted, by killing one.
func (s *system) disturb(victim string) {
	s.t.Helper()
	now := s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	want := map[string]uint64{"d": 1}
	for _, name := range group {
		want[name] = now[name].Incarnation + 1
	}
	if err := syscall.Kill(now[victim].PID, syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill %s: %v", victim, err)
	}
	s.waitRunning(want)
}

// harmless checks what must hold whatever happened to supervisors.
func (s *system) harmless() {
	s.t.Helper()
	s.checkLog()
	s.checkNoDoubles()
}

// TestTakeover kills the supervisor that decides, with -9 and amid restarts, and then
// its successor, and so on; each time another takes over in time.
func TestTakeover(t *testing.T) {
	for _, supervisors := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d supervisors", supervisors), func(t *testing.T) {
			t.Parallel()
			s := deploy(t, takeoverConfig)
			s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
			s.services["supervisor-1"], s.http["supervisor-1"] = s.services["supervisor"], s.http["supervisor"]
			for i := 2; i <= supervisors; i++ {
				s.supervisor(fmt.Sprintf("supervisor-%d", i), s.url)
			}
			leader := s.deciding("")
			for round := range 1 + rounds() {
				now := s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
				if err := syscall.Kill(now[group[round%len(group)]].PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Duration(round%10) * 40 * time.Millisecond) // to another point of the restart
				begin := time.Now()
				s.services[leader].Kill()
				next := s.deciding(leader)
				answered := time.Since(begin)
				t.Logf("round %d: kill -9 of %s: %s is seen to answer after %s", round, leader, next, answered.Round(time.Millisecond))
				s.inTime(next, begin)
				s.services[leader].Start()
				s.waitReady(leader)
				want := map[string]uint64{"d": 1}
				for _, name := range group {
					want[name] = now[name].Incarnation + 1
				}
				s.waitRunning(want)
				leader = next
			}
			s.harmless()
		})
	}
}

// TestAskedDuringATakeover: what is asked and ordered while a successor takes over from a
// supervisor that was killed, or is paused, is answered by that.
func TestAskedDuringATakeover(t *testing.T) {
	t.Parallel()
	s := deploy(t, takeoverConfig)
	s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	s.services["supervisor-1"], s.http["supervisor-1"] = s.services["supervisor"], s.http["supervisor"]
	s.supervisor("supervisor-2", s.url)
	leader, incarnation := s.deciding(""), s.waitRunning(map[string]uint64{"d": 1})["d"].Incarnation
	for round, end := range []func(p *process){func(p *process) { p.Kill() }, func(p *process) { p.Signal(syscall.SIGSTOP) }} {
		for _, args := range [][]string{{"child", "restart", "d", "--reason", "rotate"}, {"tree", "d"}} {
			old := s.services[leader]
			end(old)
			if out, errOut, code := run(t, []string{"NATS_URL=" + s.url}, bin("smith"), args...); code != 0 {
				t.Errorf("round %d: smith %v: exit code %d\n%s%s", round, args, code, out, errOut)
			}
			next := s.deciding(leader)
			if round == 0 {
				old.Start()
			} else {
				old.Signal(syscall.SIGCONT)
				s.superseded(leader)
			}
			s.waitReady(leader)
			leader = next
		}
		incarnation++
		if now := s.waitRunning(map[string]uint64{"d": incarnation})["d"].Incarnation; now != incarnation {
			t.Errorf("round %d: d is at incarnation %d, want %d", round, now, incarnation)
		}
	}
	s.harmless()
}

// TestPausedSupervisor stops the process that decides for 10 s and continues it,
// amid restarts: its successor decides, and all of its own comes to nothing.
func TestPausedSupervisor(t *testing.T) {
	t.Parallel()
	s := deploy(t, takeoverConfig)
	s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	s.supervisor("supervisor-2", s.url)
	old, paused := s.deciding(""), s.services["supervisor"]
	if old != "supervisor-1" {
		t.Fatalf("%s decides", old)
	}
	s.kill("b")
	<-time.After(100 * time.Millisecond) // into the restart of the group
	begin := time.Now()
	paused.Signal(syscall.SIGSTOP)
	resume := sync.OnceFunc(func() { paused.Signal(syscall.SIGCONT) })
	t.Cleanup(resume)
	next := s.deciding(old)
	t.Logf("SIGSTOP of %s: %s is seen to answer after %s", old, next, time.Since(begin).Round(time.Millisecond))
	s.inTime(next, begin)
	for i := 0; time.Since(begin) < 10*time.Second; i++ {
		s.disturb(group[i%len(group)])
		// The paused one still has its subscriptions; no request is lost to it.
		if _, err := s.nc.Request("smith.supervisor.tree", []byte("{}"), 2*time.Second); err != nil {
			t.Errorf("a request while one supervisor is paused: %v", err)
		}
	}
	resumed := time.Now()
	resume()
	s.superseded(old)
	t.Logf("SIGCONT: it reports itself superseded after %s", time.Since(resumed).Round(time.Millisecond))
	if who := s.deciding(old); who != next {
		t.Errorf("%s decides, not %s", who, next)
	}
	for service, want := range map[string]string{"supervisor": "0", "supervisor-2": "1"} {
		if !s.exposes(service, `smith_supervisor_deciding{tree="main"} `+want) {
			t.Errorf("%s does not have the metric of deciding at %s", service, want)
		}
	}
	s.disturb("a")
	if more := s.decidedBy(old, begin.Add(time.Second)); len(more) > 0 {
		t.Errorf("%s decided %d times after it was paused", old, len(more))
	}
	// It stands by, ready to take over in turn.
	s.services["supervisor-2"].Kill()
	if who := s.deciding(next); who != old {
		t.Errorf("%s decides, not %s", who, old)
	}
	s.disturb("c")
	s.harmless()
}

// TestCutOffSupervisor cuts the supervisor that decides off from NATS while it
// lives on. What it sent meanwhile arrives late.
func TestCutOffSupervisor(t *testing.T) {
	t.Parallel()
	s := deploy(t, takeoverConfig)
	s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	wire := newWire(t, strings.TrimPrefix(s.url, "nats://"))
	s.supervisor("supervisor-2", "nats://"+wire.Addr())
	s.services["supervisor"].Stop()
	if who := s.deciding("supervisor-1"); who != "supervisor-2" {
		t.Fatalf("%s decides", who)
	}
	s.services["supervisor"].Start()
	s.waitReady("supervisor")

	s.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1})
	s.kill("a")
	<-time.After(100 * time.Millisecond)
	begin := time.Now()
	wire.Hold()
	next := s.deciding("supervisor-2")
	t.Logf("cut off: %s is seen to answer after %s", next, time.Since(begin).Round(time.Millisecond))
	s.inTime(next, begin)
	for i := 0; time.Since(begin) < 6*time.Second; i++ {
		s.disturb(group[i%len(group)])
	}
	wire.Release()
	s.superseded("supervisor-2")
	if who := s.deciding("supervisor-2"); who != next {
		t.Errorf("%s decides, not %s", who, next)
	}
	s.disturb("b")
	s.harmless()
}

// wire is a connection to a server that can be cut without either side noticing.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	flowing  *sync.Cond
	held     bool
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l}
	w.flowing = sync.NewCond(&w.mu)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			all.Go(func() { w.carry(out, in) })
			all.Go(func() { w.carry(in, out) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.Release()
		all.Wait()
	})
	return w
}

func (w *wire) Addr() string { return w.listener.Addr().String() }

// Hold keeps back everything from now on.
func (w *wire) Hold() { w.set(true) }

// Release lets flow what was kept back, and all that follows.
func (w *wire) Release() { w.set(false) }

func (w *wire) set(held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = held
	w.flowing.Broadcast()
}

func (w *wire) carry(to io.WriteCloser, from io.ReadCloser) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.held {
			w.flowing.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
