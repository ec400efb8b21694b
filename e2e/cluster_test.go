package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// cluster is MisterSmith on three nats-servers that replicate everything.
type cluster struct {
	*system
	servers []*process
}

func deployCluster(t *testing.T, config string) *cluster {
	t.Helper()
	c := &cluster{system: &system{t: t, dir: t.TempDir(), services: map[string]*process{}, http: map[string]string{}}}
	const size = 3
	var clients, routes [size]string
	for i := range size {
		clients[i], routes[i] = fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	}
	for i := range size {
		file := c.write(fmt.Sprintf("n%d.conf", i), fmt.Sprintf(`
			server_name: n%d, listen: %q, jetstream: {store_dir: "%s/n%d"}
			cluster: {name: c, listen: %q, routes: ["nats://%s"]}
		`, i, clients[i], c.dir, i, routes[i], strings.Join(routes[:], `", "nats://`)))
		c.servers = append(c.servers, start(t, os.Args[0], []string{asNATSServer + "=1"}, "-c", file))
	}
	c.url = "nats://" + strings.Join(clients[:], ",nats://")
	c.serve(strings.Replace(config, "root_strategy:", "event_store: {replicas: 3}\n  root_strategy:", 1), nil)
	return c
}

// leader is the number of the server that leads the event stream, once all three
// have all of it.
func (c *cluster) leader() int {
	c.t.Helper()
	leader := -1
	eventually(c.t, 60*time.Second, "all servers to have the event stream", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		defer cancel()
		stream, err := c.js.Stream(ctx, contracts.EventStream)
		if err != nil {
			return false
		}
		of := stream.CachedInfo().Cluster
		if of == nil || len(of.Replicas) != 2 || !current(of.Replicas) {
			return false
		}
		_, err = fmt.Sscanf(of.Leader, "n%d", &leader)
		return err == nil
	})
	return leader
}

func current(replicas []*jetstream.PeerInfo) bool {
	for _, r := range replicas {
		if !r.Current || r.Offline {
			return false
		}
	}
	return true
}

// TestCluster kills a server of a cluster with -9 amid a group restart, three times
// the one that leads the event stream, and then two at once. Only under `task soak`:
// each time a cluster takes seconds to agree on a new leader.
func TestCluster(t *testing.T) {
	if !soaking() {
		t.Skip("E2E_ROUNDS is not set")
	}
	t.Parallel()
	c := deployCluster(t, groupConfig)
	now := c.waitRunning(map[string]uint64{"a": 1, "b": 1, "c": 1, "d": 1})
	kill := func(down ...int) {
		t.Helper()
		want := map[string]uint64{"d": 1}
		for _, name := range group {
			want[name] = now[name].Incarnation + 1
		}
		if err := syscall.Kill(now["a"].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-time.After(60 * time.Millisecond) // into the restart
		begin := time.Now()
		for _, i := range down {
			c.servers[i].Kill()
		}
		if len(down) > 1 {
			<-time.After(3 * time.Second) // nothing can be stored
			for _, i := range down {
				c.servers[i].Start()
			}
		}
		now = c.waitRunning(want)
		t.Logf("servers %v killed: the group runs again after %s", down, time.Since(begin).Round(time.Millisecond))
		if len(down) == 1 {
			c.servers[down[0]].Start()
		}
		for name, incarnation := range want {
			if got := now[name].Incarnation; got != incarnation {
				t.Fatalf("%s is at incarnation %d, want %d", name, got, incarnation)
			}
		}
	}
	for range c.servers {
		kill(c.leader())
	}
	first := c.leader()
	kill(first, (first+1)%len(c.servers))
	c.leader()
	for _, name := range starting {
		c.waitReady(name)
	}

	// The lease is given back on replicated streams too.
	c.supervisor("supervisor-2", c.url)
	begin := time.Now()
	c.services["supervisor"].Signal(syscall.SIGTERM)
	c.deciding("supervisor-1")
	t.Logf("SIGTERM of a supervisor: the next is seen to answer after %s", time.Since(begin).Round(time.Millisecond))

	for _, ev := range c.checkLog() {
		if d, err := contracts.DecodeData[contracts.AgentFailedData](ev); ev.Type == contracts.AgentFailed && ev.Entity != "a" && (err != nil || d.Silence != nil) {
			t.Errorf("a healthy agent was declared failed: %+v, %v", d, err)
		}
	}
	c.checkNothingLost()
	c.checkNoDoubles()
}
