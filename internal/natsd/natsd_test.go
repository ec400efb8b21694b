package natsd_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/internal/natsd"
	"github.com/mistersmith/mistersmith/internal/shell"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(t *testing.T) natsd.Options {
	return natsd.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
}

func TestServes(t *testing.T) {
	s, err := natsd.Start(options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := shell.JetStream(t.Context(), nc); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*natsd.Options)
		want   string
	}{
		"taken port":   {func(o *natsd.Options) { o.Listen = taken.Addr().String() }, "--listen"},
		"bad address":  {func(o *natsd.Options) { o.Listen = "nowhere" }, "HOST:PORT"},
		"bad port":     {func(o *natsd.Options) { o.Listen = "127.0.0.1:99999" }, "HOST:PORT"},
		"unwritable":   {func(o *natsd.Options) { o.StoreDir = file }, "--store-dir"},
		"below a file": {func(o *natsd.Options) { o.StoreDir = filepath.Join(file, "x") }, "--store-dir"},
	} {
		o := options(t)
		c.change(&o)
		s, err := natsd.Start(o)
		if err == nil {
			s.Shutdown()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
}
