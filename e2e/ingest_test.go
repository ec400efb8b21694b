package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// asIdleSubscriber makes this test binary a subscriber at the server named there
// that does nothing but count.
const asIdleSubscriber = "E2E_IDLE_SUBSCRIBER"

// The idle subscriber hears what is published here instead of to the detector;
// the subjects are as long as those of heartbeats.
const (
	idlePrefix = "other.heartbeat."
	idleCount  = "other.count"
)

// subscribeIdly runs the idle subscriber until it is killed.
func subscribeIdly(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	var count atomic.Int64
	sub, err := nc.Subscribe(idlePrefix+">", func(*nats.Msg) { count.Add(1) })
	if err == nil {
		err = sub.SetPendingLimits(1_000_000, 256<<20)
	}
	_, replies := nc.Subscribe(idleCount, func(m *nats.Msg) {
		_ = m.Respond(strconv.AppendInt(nil, count.Load(), 10))
	})
	if err := errors.Join(err, replies); err != nil {
		return err
	}
	select {}
}

// TestIngest publishes heartbeats as fast as it can, by turns to the detector
// and to a subscriber that does nothing, and compares how long it takes until
// all have been read.
func TestIngest(t *testing.T) {
	agents, burst, turns := 2000, 20_000, 3
	if os.Getenv("E2E_SCALE") != "" {
		agents, burst, turns = 50_000, 300_000, 15
	}
	s := detectorAlone(t)
	s.startDetector(t)
	start(t, os.Args[0], []string{asIdleSubscriber + "=" + s.url})
	eventually(t, 10*time.Second, "the idle subscriber", func() bool { return s.idleCount() >= 0 })
	p := newBurster(t, s.url, agents)

	s.ingested(t, p, agents, 0) // so that all are known
	s.idled(t, p, agents)
	eventually(t, 2*time.Minute, "the discoveries to be told", func() bool { return s.metrics(t)["smith_detector_events_waiting"] == 0 })
	var idle, ingest []float64
	for turn := range turns {
		idle = append(idle, float64(burst)/s.idled(t, p, burst).Seconds())
		ingest = append(ingest, float64(burst)/s.ingested(t, p, burst, turn+1).Seconds())
	}
	m := s.metrics(t)
	if dropped := m["smith_detector_heartbeats_dropped_total"]; dropped > 0 {
		t.Errorf("%.0f heartbeats were dropped", dropped)
	}
	median := func(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }
	ratio := median(ingest) / median(idle)
	t.Logf("idle subscriber %.0f/s, detector %.0f/s (medians of %d turns of %d heartbeats of %d agents): %.2f", median(idle), median(ingest), turns, burst, agents, ratio)
	if os.Getenv("E2E_SCALE") != "" && ratio < 0.8 {
		t.Errorf("the detector reads %.2f times as fast as a subscriber that does nothing", ratio)
	}
}

// idled is how long it takes the idle subscriber to read a burst.
func (s *system) idled(t *testing.T, p *burster, n int) time.Duration {
	t.Helper()
	before, began := s.idleCount(), time.Now()
	p.send(t, idlePrefix, n, "")
	soon(t, "the idle subscriber to read all", func() bool { return s.idleCount() == before+n })
	return time.Since(began)
}

func (s *system) idleCount() int {
	m, err := s.nc.Request(idleCount, nil, time.Second)
	if err != nil {
		return -1
	}
	n, _ := strconv.Atoi(string(m.Data))
	return n
}

// ingested is how long it takes the detector to read a burst: until it knows
// its last agent, which is new.
func (s *system) ingested(t *testing.T, p *burster, n, turn int) time.Duration {
	t.Helper()
	last := fmt.Sprint("last-", turn)
	ask, err := json.Marshal(contracts.AgentRequest{Agent: last})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.send(t, contracts.HeartbeatPrefix, n-1, last)
	soon(t, "the detector to read all", func() bool {
		m, err := s.nc.Request(contracts.ServiceSubject(contracts.ServiceDetector, "status"), ask, time.Second)
		return err == nil && m.Header.Get("Nats-Service-Error-Code") == ""
	})
	return time.Since(began)
}

// soon is eventually in small steps.
func soon(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.Now().Add(time.Minute)
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for !cond() {
		if <-every.C; time.Now().After(limit) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// burster publishes heartbeats as fast as it can.
type burster struct {
	nc    *nats.Conn
	names []string
	seq   int
}

func newBurster(t *testing.T, url string, agents int) *burster {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := &burster{nc: nc}
	for i := range agents {
		p.names = append(p.names, fmt.Sprintf("worker-%07d", i*7919%agents))
	}
	return p
}

// send publishes n heartbeats, and then one of the agent named last.
func (p *burster) send(t *testing.T, prefix string, n int, last string) {
	t.Helper()
	subject, body := []byte(prefix), make([]byte, 0, 256)
	for range n {
		name := p.names[p.seq%len(p.names)]
		p.seq++
		subject = append(subject[:len(prefix)], name...)
		body = append(body[:0], `{"seq":`...)
		body = strconv.AppendInt(body, int64(p.seq/len(p.names)+1), 10)
		body = append(body, `,"interval":"10s","type":"worker","capabilities":["go","rust"],"status":"running","capacity":4}`...)
		if err := p.nc.Publish(string(subject), body); err != nil {
			t.Fatal(err)
		}
	}
	if last != "" {
		if err := p.nc.Publish(prefix+last, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}
