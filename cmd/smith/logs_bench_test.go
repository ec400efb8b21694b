package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// floodMode makes the test binary an agent that prints numbered lines of 100 bytes:
// so many megabytes a second, until it is killed.
const floodMode = "SMITH_TEST_FLOOD"

func flood(rate string) {
	mb, err := strconv.Atoi(rate)
	if err != nil {
		panic(err)
	}
	const tick = 5 * time.Millisecond
	n, lines := 0, make([]byte, 0, 1<<20)
	for next := time.Now(); ; next = next.Add(tick) {
		lines = lines[:0]
		for range mb * 10_000 / int(time.Second/tick) {
			lines = fmt.Appendf(lines, "%098d \n", n)
			n++
		}
		if _, err := os.Stdout.Write(lines); err != nil {
			return
		}
		time.Sleep(time.Until(next))
	}
}

func startFlood(b *testing.B, nc *nats.Conn, mb string) (stop func()) {
	b.Helper()
	cmd := contracts.StartCommand{Agent: "flood", Incarnation: 1, Command: []string{os.Args[0]}, Env: map[string]string{floodMode: mb}}
	tellRunner(b, nc, "r1", "start", cmd)
	return func() {
		tellRunner(b, nc, "r1", "stop", contracts.StopCommand{Agent: "flood", Incarnation: 1, Kill: true})
	}
}

// BenchmarkFollow follows an agent that prints 20 MB a second, of which 10 MiB are
// kept: every line must come, once.
func BenchmarkFollow(b *testing.B) {
	const mb, bytesOfLine = 20, 100
	server := natstest.Listen(b)
	nc := server.Connect(b)
	natstest.Streams(b, natstest.JetStream(b, nc))
	defer hostOf(b, server, "r1", b.TempDir(), 0)()
	defer startFlood(b, nc, strconv.Itoa(mb))()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	r, w := io.Pipe()
	errOut := &synced{}
	go func() {
		f := clientFlags{NATSFlags: shell.NATSFlags{Server: server.URL(), Timeout: 10 * time.Second}}
		_ = (&logsCmd{clientFlags: f, Agent: "flood", Follow: true, Plain: true, Lines: 1}).Run(&app{ctx: ctx, stdout: w, stderr: errOut, log: slog.New(slog.DiscardHandler)})
		w.Close()
	}()
	scan := bufio.NewScanner(r)
	last, lost := -1, 0
	b.SetBytes(mb * 1_000_000 / 100) // an op is 10 ms of output
	for b.Loop() {
		for range mb * 1_000_000 / bytesOfLine / 100 {
			if !scan.Scan() {
				b.Fatal(errOut)
			}
			n, err := strconv.Atoi(strings.TrimSpace(scan.Text()))
			if err != nil || n <= last {
				b.Fatalf("line %q after %d, %v", scan.Text(), last, err)
			}
			if last >= 0 {
				lost += n - last - 1
			}
			last = n
		}
	}
	b.ReportMetric(float64(lost), "lost-lines")
	if lost > 0 {
		b.Errorf("%d lines lost; %s", lost, errOut)
	}
	cancel()
	_, _ = io.Copy(io.Discard, r)
}

// BenchmarkStartsBesideReaders starts and ends agents beside one that floods: alone,
// with eight that follow it and whose output nobody takes, and with eight that ask
// for 100 parts a second and take none. The percentiles are to be compared.
func BenchmarkStartsBesideReaders(b *testing.B) {
	for name, read := range map[string]func(*testing.B, *natstest.Server) (stop func()){
		"alone": nil, "stalled": stalledReader, "greedy": greedyReader,
	} {
		b.Run(name, func(b *testing.B) {
			server := natstest.Listen(b)
			nc := server.Connect(b)
			natstest.Streams(b, natstest.JetStream(b, nc))
			defer hostOf(b, server, "r1", b.TempDir(), 0)()
			defer startFlood(b, nc, "5")()
			for i := 0; read != nil && i < 8; i++ {
				defer read(b, server)()
			}
			var took []time.Duration
			for n := uint64(1); b.Loop(); n++ {
				begin := time.Now()
				tellRunner(b, nc, "r1", "start", contracts.StartCommand{Agent: "a", Incarnation: n, Command: []string{"sleep", "1000"}})
				tellRunner(b, nc, "r1", "stop", contracts.StopCommand{Agent: "a", Incarnation: n, Kill: true})
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// stalledReader follows, and nobody takes what it prints.
func stalledReader(b *testing.B, server *natstest.Server) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f := clientFlags{NATSFlags: shell.NATSFlags{Server: server.URL(), Timeout: 10 * time.Second}}
		_ = (&logsCmd{clientFlags: f, Agent: "flood", Follow: true}).Run(&app{ctx: ctx, stdout: w, stderr: io.Discard, log: slog.New(slog.DiscardHandler)})
	}()
	return func() {
		cancel()
		r.Close()
		<-done
	}
}

// greedyReader asks and asks.
func greedyReader(b *testing.B, server *natstest.Server) (stop func()) {
	nc := server.Connect(b, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	inbox := nc.NewInbox()
	if _, err := nc.SubscribeSync(inbox); err != nil { // which is never read from
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for shell.Pause(ctx, 10*time.Millisecond) == nil {
			_ = nc.PublishRequest(contracts.RunnerSubject("r1", "logs"), inbox, []byte(`{"agent":"flood","wait":"1s"}`))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
