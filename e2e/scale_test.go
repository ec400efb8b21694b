package e2e

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// A scale is how large the fleet is that the detector watches through NATS;
// E2E_SCALE=1 makes it a million.
type scale struct {
	agents, killed, rounds int
	interval               time.Duration
}

func scaleOfTest(t *testing.T) scale {
	if os.Getenv("E2E_SCALE") == "" {
		return scale{agents: 2000, killed: 50, rounds: 14, interval: time.Second}
	}
	s := scale{agents: 1_000_000, killed: 1000, rounds: 14, interval: 10 * time.Second}
	if n, err := strconv.Atoi(os.Getenv("E2E_AGENTS")); err == nil {
		s.agents = n
	}
	if d, err := time.ParseDuration(os.Getenv("E2E_INTERVAL")); err == nil {
		s.interval = d
	}
	return s
}

// TestScale lets a fleet that was announced by events beat through a
// nats-server, kills some of it, and compares when the detector's verdicts come
// with when its core gives them, told of the same heartbeats by itself.
func TestScale(t *testing.T) {
	sc := scaleOfTest(t)
	s := detectorAlone(t)
	names := make([]string, sc.agents)
	for i := range names {
		names[i] = fmt.Sprintf("worker-%07d", i)
	}
	began := time.Now()
	s.announce(t, names, sc.interval)
	t.Logf("announced             %d agents in %.1f s", sc.agents, time.Since(began).Seconds())
	began = time.Now()
	s.startDetector(t)
	t.Logf("detector ready        in %.1f s, resident %.0f MiB", time.Since(began).Seconds(), s.resident(t))

	w := s.witness(t, names, sc.killed)
	f := newFlock(t, s.url, names, sc)
	f.run(sc.rounds*sc.agents, nil, nil)
	s.waitRead(t, f.sent)
	resident, used := s.resident(t), s.cpu(t)
	t.Logf("all beating           resident %.0f MiB, at most %.0f MiB", resident, s.peak(t))
	dead := map[int]bool{}
	for i := range sc.killed {
		dead[i] = true
	}
	sent, killedAt, enough := f.sent, time.Now(), make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { f.run(20*sc.agents, dead, enough) })
	verdicts := w.verdicts(10 * sc.interval)
	close(enough)
	others.Wait()
	perBeat := (s.cpu(t) - used).Seconds() / float64(f.sent-sent) * 1e6

	late, wrong, missing := w.compare(t, verdicts)
	m := s.metrics(t)
	t.Logf("heartbeats            %d sent in %s, %.0f/s while killing", f.sent, f.took.Round(time.Second), float64(f.sent-sent)/time.Since(killedAt).Seconds())
	t.Logf("understood            %.0f, dropped %.0f, doubts %s", m["smith_detector_heartbeats_total"], m["smith_detector_heartbeats_dropped_total"], withPrefix(m, "smith_detector_doubts_total"))
	t.Logf("detector              resident %.0f MiB, later %.0f MiB, at most %.0f MiB; %.2f µs of processor per heartbeat", resident, s.resident(t), s.peak(t), perBeat)
	t.Logf("verdicts              %d of %d killed, %d of others", len(late), sc.killed, wrong)
	if missing > 0 || wrong > 0 || len(late) == 0 {
		t.Fatalf("%d verdicts are missing, %d are wrong", missing, wrong)
	}
	slices.Sort(late)
	at := func(q float64) time.Duration { return late[int(q*float64(len(late)-1))].Round(time.Millisecond) }
	t.Logf("later than the core   median %s, p99 %s, at most %s (at least %s)", at(0.5), at(0.99), at(1), at(0))
	if dropped := m["smith_detector_heartbeats_dropped_total"]; dropped > 0 {
		t.Errorf("%.0f heartbeats were dropped", dropped)
	}
	if os.Getenv("E2E_SCALE") != "" && at(0.99) > 250*time.Millisecond {
		t.Errorf("the 99th percentile of verdicts is %s late", at(0.99))
	}
}

// detectorAlone is a nats-server with the streams and what is needed to start
// the detector; nothing else runs.
func detectorAlone(t *testing.T) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), services: map[string]*process{}, http: map[string]string{}}
	port := freePort(t)
	s.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	s.nats = start(t, os.Args[0], []string{asNATSServer + "=1"}, "-js", "-a", "127.0.0.1", "-p", fmt.Sprint(port), "-sd", filepath.Join(s.dir, "nats"))
	s.connect()
	s.http["eventstore"] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	store := start(t, bin("eventstore"), nil, "--server", s.url, "--http", s.http["eventstore"], "--index-dir", filepath.Join(s.dir, "index"))
	s.waitReady("eventstore")
	store.Stop()
	return s
}

func (s *system) startDetector(t *testing.T) {
	t.Helper()
	s.http["detector"] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s.services["detector"] = start(t, bin("detector"), nil, "--server", s.url, "--http", s.http["detector"])
	eventually(t, 5*time.Minute, "the detector to be ready", func() bool {
		resp, err := http.Get("http://" + s.http["detector"] + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// announce stores a start event for each agent, as a runner does.
func (s *system) announce(t *testing.T, names []string, interval time.Duration) {
	t.Helper()
	js, err := jetstream.New(s.nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		runner := fmt.Sprint("host-", i%1000)
		ev, err := contracts.NewEvent("runner/"+runner, contracts.AgentStarted, name, time.Now()).Data(contracts.AgentStartedData{
			Agent: name, Incarnation: 1, Runner: runner, Type: "worker",
			Interval: contracts.Duration(interval), StartDeadline: contracts.Duration(time.Hour),
		}).Build()
		if err != nil {
			t.Fatal(err)
		}
		body, err := ev.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishAsync(ev.Subject(), body, jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the start events were not stored within a minute")
	}
}

// flock publishes the heartbeats of many agents at an even rate.
type flock struct {
	scale
	nc       *nats.Conn
	subjects []string // in the order in which they beat
	places   []int    // the agent at each place of the order
	sent, at int
	took     time.Duration
}

func newFlock(t *testing.T, url string, names []string, sc scale) *flock {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	f := &flock{scale: sc, nc: nc, subjects: make([]string, len(names)), places: rand.Perm(len(names))}
	for place, i := range f.places {
		f.subjects[place] = contracts.HeartbeatSubject(names[i])
	}
	return f
}

// run publishes so many heartbeats, or until it is enough, but not those of the
// dead. Within a hundredth of the order, agents change places from round to
// round.
func (f *flock) run(n int, dead map[int]bool, enough <-chan struct{}) {
	began := time.Now()
	step := f.interval / time.Duration(f.agents)
	block := max(f.agents/100, 1)
	body := make([]byte, 0, 256)
	for done := 0; done < n; {
		due := min(int(time.Since(began)/step)+1, n)
		for ; done < due; done++ {
			round, place := f.at/f.agents, f.at%f.agents
			f.at++
			if base := place / block * block; base+block <= f.agents {
				place = base + (place-base+round*7919)%block
			}
			if dead[f.places[place]] {
				continue
			}
			body = append(body[:0], `{"incarnation":1,"seq":`...)
			body = strconv.AppendInt(body, int64(round+1), 10)
			body = append(body, `,"interval":"`...)
			body = append(body, f.interval.String()...)
			body = append(body, `","type":"worker","status":"running","capacity":4,"progress":`...)
			body = strconv.AppendInt(body, int64(round), 10)
			body = append(body, '}')
			if f.nc.Publish(f.subjects[place], body) == nil {
				f.sent++
			}
		}
		select {
		case <-enough:
			n = done
		case <-time.After(time.Until(began.Add(time.Duration(done) * step))):
		}
	}
	_ = f.nc.Flush()
	f.took += time.Since(began)
}

// witness sees the heartbeats of some agents and all verdicts, with the time at
// which each came.
type witness struct {
	t      *testing.T
	origin time.Time
	names  map[string]int // of those that will be killed, and of some that will not
	killed int            // the first of them

	mu     sync.Mutex
	beats  []string // lines for the judge-adapter
	failed map[string]time.Duration
}

// witness watches the agents to be killed, and enough others that the core can
// learn from them what agents of the type do.
func (s *system) witness(t *testing.T, names []string, killed int) *witness {
	t.Helper()
	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := &witness{t: t, origin: time.Now(), names: map[string]int{}, killed: killed, failed: map[string]time.Duration{}}
	for i, name := range names[:min(max(killed, 1000), len(names))] {
		w.names[name] = i
		if _, err := nc.Subscribe(contracts.HeartbeatSubject(name), w.hear); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nc.Subscribe(contracts.EventTypeWildcard(contracts.AgentFailed), func(m *nats.Msg) {
		now := time.Since(w.origin)
		_, agent, err := contracts.ParseEventSubject(m.Subject)
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, twice := w.failed[agent]; err == nil && !twice {
			w.failed[agent] = now
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *witness) hear(m *nats.Msg) {
	now := time.Since(w.origin)
	agent, err := contracts.ParseHeartbeatSubject(m.Subject)
	if err != nil {
		return
	}
	h, err := contracts.DecodeHeartbeat(m.Data)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beats = append(w.beats, fmt.Sprintf("%d %d %d %d %s", now.Microseconds(), w.names[agent], h.Seq, h.Interval.D().Microseconds(), h.Type))
}

// verdicts waits until everybody watched was found.
func (w *witness) verdicts(within time.Duration) map[string]time.Duration {
	w.t.Helper()
	eventually(w.t, within, "all verdicts", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := 0
		for name := range w.failed {
			if i, watched := w.names[name]; watched && i < w.killed {
				n++
			}
		}
		return n == w.killed
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.failed)
}

// compare gives how much later than the core's each verdict came. The core is
// told of the heartbeats that the witness saw, and of time passing in
// milliseconds.
func (w *witness) compare(t *testing.T, verdicts map[string]time.Duration) (late []time.Duration, wrong, missing int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	ideal := judge(t, w.beats, time.Since(w.origin)+time.Minute)
	for name, at := range verdicts {
		i, watched := w.names[name]
		best, known := ideal[i]
		if watched && known && i < w.killed {
			late = append(late, at-best)
		} else {
			wrong++
		}
	}
	return late, wrong, w.killed - len(late)
}

// judge gives when the core suspects each agent.
func judge(t *testing.T, beats []string, end time.Duration) map[int]time.Duration {
	t.Helper()
	adapter := filepath.Join(t.TempDir(), "judge-adapter")
	if out, err := exec.Command("go", "build", "-o", adapter, "../services/detector/cmd/judge-adapter").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(adapter)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go tellCore(in, beats, end)
	ideal := map[int]time.Duration{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var us int64
		var agent int
		if n, _ := fmt.Sscanf(lines.Text(), "S %d %d", &us, &agent); n == 2 {
			ideal[agent] = time.Duration(us) * time.Microsecond
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return ideal
}

func tellCore(in io.WriteCloser, beats []string, end time.Duration) {
	out := bufio.NewWriter(in)
	defer in.Close()
	defer out.Flush()
	fmt.Fprintln(out, "V 1 tick_us=1000")
	next := int64(0)
	pass := func(to int64) {
		for ; next <= to; next += 1000 {
			fmt.Fprintln(out, "T", next)
		}
	}
	for _, beat := range beats {
		us, _, _ := strings.Cut(beat, " ")
		at, _ := strconv.ParseInt(us, 10, 64)
		pass(at)
		fmt.Fprintln(out, "H", beat)
	}
	pass(end.Microseconds())
	fmt.Fprintln(out, "E")
}

// metrics are the detector's.
func (s *system) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + s.http["detector"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	m := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			m[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return m
}

func (s *system) metricsReach(t *testing.T, name string, value float64) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%s to reach %.0f", name, value), func() bool { return s.metrics(t)[name] >= value })
}

// waitRead waits until the detector has read, or lost, so many heartbeats.
func (s *system) waitRead(t *testing.T, n int) {
	t.Helper()
	eventually(t, 2*time.Minute, fmt.Sprintf("%d heartbeats to be read", n), func() bool {
		m := s.metrics(t)
		return m["smith_detector_heartbeats_total"]+m["smith_detector_heartbeats_dropped_total"] >= float64(n)
	})
}

func withPrefix(m map[string]float64, prefix string) string {
	var found []string
	for name, value := range m {
		if strings.HasPrefix(name, prefix) {
			found = append(found, fmt.Sprintf("%s %.0f", strings.TrimPrefix(name, prefix), value))
		}
	}
	slices.Sort(found)
	if found == nil {
		return "none"
	}
	return strings.Join(found, ", ")
}

// resident and peak are the detector's memory in MiB.
func (s *system) resident(t *testing.T) float64 { return s.status(t, "VmRSS:") }
func (s *system) peak(t *testing.T) float64     { return s.status(t, "VmHWM:") }

func (s *system) status(t *testing.T, field string) float64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.services["detector"].cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), field)
	kib, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kib / 1024
}

// cpu is the processor time the detector has used.
func (s *system) cpu(t *testing.T) time.Duration {
	return time.Duration(s.metrics(t)["process_cpu_seconds_total"] * float64(time.Second))
}
