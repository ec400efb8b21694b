package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// asBeaters makes this test binary a program of many agents that only beat.
const asBeaters = "E2E_BEATERS"

// beatAll is that program: agents PREFIX-0 to PREFIX-(N-1) on a few connections.
// It ends on SIGTERM.
func beatAll(args []string) {
	if err := runBeaters(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runBeaters(args []string) error {
	url, prefix := args[0], args[1]
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	every, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	const perConnection = 50
	var beating sync.WaitGroup
	for from := 0; from < count; from += perConnection {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(100*time.Millisecond),
			nats.PingInterval(time.Second), nats.MaxPingsOutstanding(3), nats.Timeout(5*time.Second))
		if err != nil {
			return err
		}
		defer nc.Close()
		for i := from; i < min(from+perConnection, count); i++ {
			beating.Go(func() { beatOne(ctx, nc, fmt.Sprintf("%s-%d", prefix, i), every) })
		}
	}
	beating.Wait()
	return nil
}

// beatOne beats regularly, from a moment of its own on.
func beatOne(ctx context.Context, nc *nats.Conn, agent string, every time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(rand.N(every)):
	}
	next := time.NewTicker(every)
	defer next.Stop()
	for seq := uint64(1); ; seq++ {
		body, err := json.Marshal(contracts.Heartbeat{Seq: seq, Interval: contracts.Duration(every), Type: "beater"})
		if err == nil {
			_ = nc.Publish(contracts.HeartbeatSubject(agent), body) // what cannot be sent now is never sent
		}
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

// beaters starts n agents, in processes of at most 250.
func (s *system) beaters(prefix string, n int, every time.Duration, url string) []*process {
	s.t.Helper()
	const perProcess = 250
	var all []*process
	for from := 0; from < n; from += perProcess {
		all = append(all, start(s.t, os.Args[0], []string{asBeaters + "=1"},
			url, fmt.Sprintf("%s%d", prefix, from/perProcess), fmt.Sprint(min(perProcess, n-from)), every.String()))
	}
	return all
}

// proxy carries bytes between clients and a server until it is told to swallow
// them: then connections stay open, but nothing goes through.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	cut      bool
	changed  *sync.Cond
	conns    map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	go p.accept()
	t.Cleanup(func() {
		l.Close()
		p.partition(false)
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.conns {
			c.Close()
		}
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[s] = true, true
		p.mu.Unlock()
		go p.carry(c, s)
		go p.carry(s, c)
	}
}

func (p *proxy) carry(from, to net.Conn) {
	defer to.Close()
	_, _ = io.Copy(gate{to, p}, from)
	p.mu.Lock()
	delete(p.conns, from)
	p.mu.Unlock()
}

// gate is a writer that waits while the network is cut.
type gate struct {
	io.Writer
	p *proxy
}

func (g gate) Write(b []byte) (int, error) {
	g.p.mu.Lock()
	for g.p.cut {
		g.p.changed.Wait()
	}
	g.p.mu.Unlock()
	return g.Writer.Write(b)
}

// partition cuts the network, or mends it.
func (p *proxy) partition(cut bool) {
	p.mu.Lock()
	p.cut = cut
	p.mu.Unlock()
	p.changed.Broadcast()
}
