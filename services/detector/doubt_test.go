package detector_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

// dam is an in-process connection whose flow from the server can be stopped: as
// if the network swallowed it, with the connection open at both ends.
type dam struct {
	server *natstest.Server
	mu     sync.Mutex
	shut   bool
	opened *sync.Cond
}

func newDam(s *natstest.Server) *dam {
	d := &dam{server: s}
	d.opened = sync.NewCond(&d.mu)
	return d
}

func (d *dam) set(shut bool) {
	d.mu.Lock()
	d.shut = shut
	d.mu.Unlock()
	d.opened.Broadcast()
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *dam) InProcessConn() (net.Conn, error) {
	c, err := d.server.InProcessConn()
	return &dammed{Conn: c, dam: d}, err
}

type dammed struct {
	net.Conn
	dam *dam
}

func (c *dammed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.dam.mu.Lock()
	defer c.dam.mu.Unlock()
	for c.dam.shut && err == nil {
		c.dam.opened.Wait()
	}
	return n, err
}

var _ io.Reader = (*dammed)(nil)

// checks lists what the detector said about itself.
func (r *rig) checks() []string {
	r.t.Helper()
	var out []string
	for _, ev := range r.events() {
		if ev.Type != contracts.SystemHealthCheckFailed && ev.Type != contracts.SystemHealthCheckPassed {
			continue
		}
		d, err := contracts.DecodeData[contracts.SystemHealthData](ev)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, ev.Type.Name()+" "+d.Check)
	}
	return out
}

// The server goes silent towards the detector, while agents beat on: the canary
// tells whose silence that is. Who dies meanwhile is found afterwards.
func TestCanaryTellsWhoseSilenceItIs(t *testing.T) {
	bubble(t, func(r *rig) {
		d := newDam(r.s)
		nc := r.s.Connect(r.t, nats.InProcessServer(d), nats.PingInterval(time.Hour))
		r.detectAs("detector-1", nc, detector.Config{})
		agents := r.s.Connect(r.t)
		var dies func()
		for i := range 3 { // too few to be held as one matter
			dies = r.beatOn(agents, fmt.Sprint("a", i), 100*time.Millisecond, `{"interval":"100ms"}`)
		}
		r.wait(20 * time.Second)
		for _, outage := range []time.Duration{230 * time.Millisecond, 900 * time.Millisecond, 8 * time.Second} {
			d.set(true)
			r.wait(outage)
			d.set(false)
			r.wait(10 * time.Second)
			if got := r.stored(contracts.AgentFailed); len(got) > 0 {
				t.Fatalf("after %s of its own deafness it accused %q", outage, got)
			}
		}
		if got := r.checks(); len(got) != 2 || got[0] != "health_check_failed canary" || got[1] != "health_check_passed canary" {
			t.Errorf("%q", got)
		}
		d.set(true)
		r.wait(time.Second)
		dies()
		r.wait(2 * time.Second)
		d.set(false)
		r.wait(3 * time.Second)
		if got := r.stored(contracts.AgentFailed); len(got) != 1 || got[0] != "failed a2" {
			t.Errorf("%q", got)
		}
	})
}

// Heartbeats come in a burst after the detector's own connection was cut: nobody
// is accused, and the burst is no rhythm.
func TestReconnectOfTheDetector(t *testing.T) {
	bubble(t, func(r *rig) {
		nc := r.s.Connect(r.t, nats.ReconnectWait(3*time.Second))
		r.detectAs("detector-1", nc, detector.Config{})
		agents := r.s.Connect(r.t)
		for i := range 20 {
			r.beatOn(agents, fmt.Sprint("a", i), 200*time.Millisecond, `{"interval":"200ms"}`)
		}
		r.wait(20 * time.Second)
		for range 3 {
			if err := nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
			r.wait(20 * time.Second)
		}
		if got := r.stored(contracts.AgentFailed); len(got) > 0 {
			t.Errorf("accused %q", got)
		}
		got := r.checks()
		if len(got) < 2 || got[0] != "health_check_failed reconnect" || got[1] != "health_check_passed reconnect" {
			t.Errorf("%q", got)
		}
	})
}
