package restart

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// BenchmarkCrowd starts 10,000 programs that sleep under one runner, or as many as it has
// descriptors for. It tells what they cost the runner and its helper: memory that is
// theirs alone, and processor time while nothing happens. Then it kills the runner and
// times how long its successor takes until it serves with all of them, and to end them.
func BenchmarkCrowd(b *testing.B) {
	for _, c := range []struct {
		agents int
		idle   time.Duration
	}{{1000, 0}, {10_000, 20 * time.Second}} {
		b.Run(strconv.Itoa(c.agents), func(b *testing.B) {
			agents := possible(b, c.agents)
			r := newRunner(b, agents)
			for b.Loop() {
				before := r.memory()
				pids := r.start(agents)
				b.ReportMetric(float64(r.memory()-before)/float64(agents)/1024, "KiB/agent")
				if c.idle > 0 {
					spent := r.processorTime()
					time.Sleep(c.idle) // nothing is waited for: this is what is measured
					b.ReportMetric(100*float64(r.processorTime()-spent)/float64(c.idle), "idle-percent")
				}
				r.kill()
				begin := time.Now()
				r.run()
				found := r.list()
				b.ReportMetric(time.Since(begin).Seconds(), "adoption-s")
				b.ReportMetric(float64(agents), "agents")
				if lost := differ(pids, found); lost > 0 {
					b.Errorf("%d of %d agents are not the same processes", lost, agents)
				}
				begin = time.Now()
				r.stop()
				b.ReportMetric(time.Since(begin).Seconds(), "stop-s")
				r.run()
			}
		})
	}
}

// possible is how many agents the descriptors of a process allow, two for each.
func possible(b *testing.B, agents int) int {
	b.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		b.Fatal(err)
	}
	const others = 500
	return int(min(uint64(agents), (l.Cur-others)/2))
}

// runner is a runner of its own process, with the server that it is connected to.
type runner struct {
	b    *testing.B
	args []string
	nc   *nats.Conn
	cmd  *exec.Cmd
}

func newRunner(b *testing.B, agents int) *runner {
	server := natstest.Listen(b)
	nc := server.Connect(b)
	natstest.Streams(b, natstest.JetStream(b, nc))
	r := &runner{b: b, nc: nc, args: []string{
		build(b, "runner"), "--server", server.URL(), "--name", "crowd", "--state-dir", b.TempDir(),
		"--http", "", "--max-agents", strconv.Itoa(agents), "--log-level", "error", "--stop-agents",
	}}
	r.run()
	b.Cleanup(r.stop)
	return r
}

// stop ends the runner, and with it all that it runs.
func (r *runner) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	_ = r.cmd.Wait()
}

// run starts the runner and waits until it answers.
func (r *runner) run() {
	r.b.Helper()
	r.cmd = exec.Command(r.args[0], r.args[1:]...)
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		r.b.Fatal(err)
	}
	for end := time.Now().Add(patience); ; {
		_, err := r.nc.Request(contracts.RunnerSubject("crowd", "list"), nil, time.Second)
		if err == nil {
			return
		}
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(end) {
			r.b.Fatal("the runner does not answer:", err)
		}
		time.Sleep(time.Millisecond) // it has told nobody yet that it is there
	}
}

func (r *runner) kill() {
	if err := r.cmd.Process.Kill(); err != nil {
		r.b.Fatal(err)
	}
	_ = r.cmd.Wait()
}

// start starts programs, 16 at a time, and returns their processes by name.
func (r *runner) start(agents int) map[string]int {
	r.b.Helper()
	names := make(chan string)
	var workers sync.WaitGroup
	var mu sync.Mutex
	pids := map[string]int{}
	for range 16 {
		workers.Go(func() {
			for name := range names {
				var reply contracts.RunnerReply
				r.ask("start", contracts.StartCommand{Agent: name, Incarnation: 1, Command: []string{"sleep", "100000"}}, &reply)
				if reply.Code != contracts.RunnerOK {
					r.b.Errorf("start: %+v", reply)
				}
				mu.Lock()
				pids[name] = reply.PID
				mu.Unlock()
			}
		})
	}
	for i := range agents {
		names <- agent(i)
	}
	close(names)
	workers.Wait()
	return pids
}

// list returns the processes that the runner has, by name.
func (r *runner) list() map[string]int {
	pids := map[string]int{}
	for after, more := "", true; more; {
		var page contracts.RunnerList
		r.ask("list", contracts.ListCommand{After: after}, &page)
		for _, a := range page.Agents {
			if a.State == contracts.AgentRunning {
				pids[a.Agent] = a.PID
			}
			after = a.Agent
		}
		more = page.More
	}
	return pids
}

func (r *runner) ask(verb string, command, reply any) {
	body, err := json.Marshal(command)
	if err != nil {
		r.b.Error(err)
		return
	}
	msg, err := r.nc.Request(contracts.RunnerSubject("crowd", verb), body, patience)
	if err == nil {
		err = json.Unmarshal(msg.Data, reply)
	}
	if err != nil {
		r.b.Error(verb, err)
	}
}

func differ(a, b map[string]int) (n int) {
	for name, pid := range a {
		if b[name] != pid {
			n++
		}
	}
	return n
}

// processes are those of the runner and its helper, which starts what it runs.
func (r *runner) processes() []int {
	pids := []int{r.cmd.Process.Pid}
	out, err := exec.Command("pgrep", "-f", "^mistersmith-reaper").Output()
	if err != nil {
		r.b.Fatal("find the runner's helper:", err)
	}
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil && r.owns(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// owns reports whether a process is one of this runner's: it is in its directory.
func (r *runner) owns(pid int) bool {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && strings.HasPrefix(dir, r.args[6])
}

// memory is that of the runner and its helper alone, in bytes.
func (r *runner) memory() (n int64) {
	for _, pid := range r.processes() {
		n += 1024 * r.field(pid, "status", "RssAnon:")
	}
	return n
}

func (r *runner) field(pid int, file, name string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		r.b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), name)
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		r.b.Fatal(err)
	}
	return n
}

// processorTime is what the runner and its helper have used.
func (r *runner) processorTime() (d time.Duration) {
	for _, pid := range r.processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			r.b.Fatal(err)
		}
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, f := range fields[11:13] { // utime and stime
			n, _ := strconv.ParseInt(f, 10, 64)
			d += time.Duration(n) * (time.Second / 100)
		}
	}
	return d
}
