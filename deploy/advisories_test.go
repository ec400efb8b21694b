package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestAdvisoriesByAccounts runs a server with the accounts that the manual on
// detection shows: who is in the fleet's account hears of its lost connections.
func TestAdvisoriesByAccounts(t *testing.T) {
	manual, err := os.ReadFile("../docs/detection.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(manual), "```conf\n")
	conf, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("docs/detection.md shows no accounts")
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:-1\n"+conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SYS_PASSWORD", "s")
	t.Setenv("FLEET_PASSWORD", "f")
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("not ready")
	}
	dial := func(name string) *nats.Conn {
		t.Helper()
		nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("fleet", "f"), nats.Name(name), nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	detector := dial("detector")
	defer detector.Close()
	lost, err := detector.SubscribeSync(contracts.DisconnectAdvisories)
	if err == nil {
		err = detector.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	dial(contracts.HeartbeatConnection("worker-1", 3)).Close()
	msg, err := lost.NextMsg(5 * time.Second)
	if err != nil || !strings.Contains(string(msg.Data), `"smith.heartbeat.worker-1#3"`) {
		t.Errorf("%v, %v", msg, err)
	}
}
