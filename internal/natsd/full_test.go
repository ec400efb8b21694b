//go:build linux

package natsd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/internal/natsd"
)

// TestFullDisk: a server whose disk was full stores again as soon as there is
// room, at the same address, and has what it had acknowledged.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); errors.Is(err, unix.EPERM) {
		t.Skip("only root can mount a small file system")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := natsd.Start(natsd.Options{Listen: "127.0.0.1:0", StoreDir: filepath.Join(dir, "nats"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	ctx, end := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(ctx) }()
	defer func() {
		end()
		if err := <-watched; err != nil {
			t.Error(err)
		}
	}()
	nc, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	store := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "b", bytes.Repeat([]byte("b"), 1000), jetstream.WithRetryAttempts(0))
		return err
	}
	stored := 0
	for ; stored < 10; stored++ {
		if err := store(); err != nil {
			t.Fatal(err)
		}
	}
	fill := filepath.Join(dir, "fill")
	full(t, fill)
	for store() == nil { // what the server has buffered still fits
		stored++
	}
	if store() == nil {
		t.Fatal("it stores though the disk is full")
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for store() != nil {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("it stores nothing though there is room")
		}
	}
	stream, err := js.Stream(t.Context(), "B")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n < uint64(stored)+1 {
		t.Errorf("%d messages are there, and %d were acknowledged", n, stored+1)
	}
}

// full fills the file system that a file is on.
func full(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		block := bytes.Repeat([]byte{1}, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}
