package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// cutOffConfig has an agent that notes every moment of its life.
const cutOffConfig = `
supervision_tree:
  failure_detection: {heartbeat_interval: 500ms}
  placement: {lost_after: 12s}
  tree:
    - name: lonely
      heartbeats: runner
      shutdown_timeout: 1s
      runner_labels: {zone: apart}
      command: [sh, -c, "while :; do date +%s%N >> $MOMENTS/$SMITH_INCARNATION; sleep 0.05; done"]
      env: {MOMENTS: "DIR"}
`

// TestCutOffHost: a host is cut off that still runs its agent, and the agent is placed
// on another. With --stop-on-disconnect there is no moment at which both run.
func TestCutOffHost(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	s := deploy(t, cutOffConfig)
	hosts := map[string]*netHost{}
	for i, name := range []string{"host-a", "host-b"} {
		hosts[name] = newNetHost(t, name, i, strings.TrimPrefix(s.url, "nats://"))
		start(t, "ip", nil, "netns", "exec", hosts[name].space, bin("runner"), "--server", "nats://"+hosts[name].address,
			"--name", name, "--state-dir", t.TempDir(), "--label", "zone=apart", "--stop-on-disconnect", "5s", "--stop-agents", "--http", "127.0.0.1:0")
	}
	before := s.waitRunning(map[string]uint64{"lonely": 1})["lonely"]
	hosts[before.Runner].link(t, "down")
	eventually(t, time.Minute, "the agent on the other host", func() bool {
		now := s.agents()["lonely"]
		return now.Incarnation > before.Incarnation && now.Runner != before.Runner && now.Status == "running"
	})
	hosts[before.Runner].link(t, "up")
	last, first := moment(t, s.dir, before.Incarnation, -1), moment(t, s.dir, before.Incarnation+1, 0)
	t.Logf("the first ended %s before the second began", time.Duration(first-last).Round(time.Millisecond))
	if first <= last {
		t.Errorf("two ran at once, for %s", time.Duration(last-first))
	}
	eventually(t, 30*time.Second, "the end on the host that was cut off", func() bool {
		for _, ev := range s.events() {
			d, err := contracts.DecodeData[contracts.AgentFailedData](ev)
			if ev.Type == contracts.AgentFailed && ev.Source == "runner/"+before.Runner && err == nil && d.Incarnation == before.Incarnation {
				return d.Reason == contracts.ReasonHostLost && strings.Contains(d.Detail, "was cut off for ")
			}
		}
		return false
	})
}

// moment is one that an incarnation noted, in nanoseconds: the first is 0, the last -1.
func moment(t *testing.T, dir string, incarnation uint64, index int) (at int64) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(incarnation)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(b))
	if index < 0 {
		index += len(lines)
	}
	if _, err := fmt.Sscan(lines[index], &at); err != nil {
		t.Fatal(err)
	}
	return at
}

// netHost is a network namespace that reaches NATS through one link.
type netHost struct {
	space, outside string
	// address is where it finds NATS.
	address string
}

func newNetHost(t *testing.T, name string, number int, nats string) *netHost {
	t.Helper()
	id := fmt.Sprintf("%x%d", os.Getpid()&0xffff, number)
	h := &netHost{space: "smith-" + name + "-" + id, outside: "sm" + id}
	inside, net4 := "sx"+id, fmt.Sprintf("10.213.%d", 100+number)
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", h.space)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", h.space).Run() })
	ip("link", "add", h.outside, "type", "veth", "peer", "name", inside, "netns", h.space)
	ip("addr", "add", net4+".1/30", "dev", h.outside)
	ip("link", "set", h.outside, "up")
	ip("-n", h.space, "addr", "add", net4+".2/30", "dev", inside)
	ip("-n", h.space, "link", "set", inside, "up")
	ip("-n", h.space, "link", "set", "lo", "up")
	h.address = forward(t, net4+".1:0", nats)
	return h
}

// link takes the link down or up.
func (h *netHost) link(t *testing.T, state string) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", h.outside, state).CombinedOutput(); err != nil {
		t.Fatalf("link %s: %v: %s", state, err, out)
	}
}

// forward passes connections on until the test ends, and returns where it listens.
func forward(t *testing.T, listen, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			pipe := func(a, b net.Conn) {
				_, _ = io.Copy(a, b)
				_, _ = a.Close(), b.Close()
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	return l.Addr().String()
}
