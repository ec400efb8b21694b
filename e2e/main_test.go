// Package e2e tests MisterSmith as its users run it: the binaries of cmd/, a
// nats-server as a process of its own, agents as processes, and kill -9.
//
// Every round is quick here; `task soak` repeats them (E2E_ROUNDS=10).
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// binaries is where TestMain put what it built.
var binaries string

// asNATSServer makes this test binary the nats-server that tests run.
const asNATSServer = "E2E_NATS_SERVER"

// together is how many tests run at a time unless -parallel says so: they mostly
// wait for their processes.
const together = 4

func TestMain(m *testing.M) {
	if os.Getenv(asNATSServer) != "" {
		serveNATS(os.Args[1:])
	}
	if os.Getenv(asBeaters) != "" {
		beatAll(os.Args[1:])
	}
	if url := os.Getenv(asIdleSubscriber); url != "" {
		fmt.Fprintln(os.Stderr, subscribeIdly(url))
		os.Exit(1)
	}
	if os.Getenv(asHost) != "" {
		runHost()
	}
	if os.Getenv(asStuck) != "" {
		fmt.Fprintln(os.Stderr, runStuck())
		os.Exit(1)
	}
	if os.Getenv(asListener) != "" {
		listenToSignals()
	}
	natstest.Isolate()
	os.Exit(buildAndRun(m))
}

// serveNATS is what nats-server's own main does with its arguments.
func serveNATS(args []string) {
	fs := newFlagSet("nats-server")
	opts, err := server.ConfigureOptions(fs, args, server.PrintServerAndExit, fs.Usage, server.PrintTLSHelpAndDie)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			s.ConfigureLogger()
			if err = server.Run(s); err == nil {
				s.WaitForShutdown()
				os.Exit(0)
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "smith-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "../cmd/...", "../examples/worker")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the binaries under test:", err)
		return 1
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(strconv.Itoa(together)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if left := processes("exe", dir+string(filepath.Separator)); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "processes left behind:", left)
		return 1
	}
	return code
}

func bin(name string) string { return filepath.Join(binaries, name) }

// rounds is how often the crash tests repeat.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("E2E_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 1
}
