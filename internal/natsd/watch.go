package natsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	watchEvery = time.Second
	// roomFor is how much must fit into the store before a server that could not
	// write is restarted.
	roomFor = 1 << 20
)

// Watch restarts the server when it can no longer store although its disk has
// room: once a write has failed, a stream refuses all others, and a server whose
// disk was full may disable JetStream, until it is restarted. Clients reconnect by
// themselves. Watch returns when ctx ends, or with an error when the server cannot
// be restarted.
func (s *Server) Watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	full := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		fault := s.fault()
		if fault == nil {
			full = false
			continue
		}
		if err := room(s.opts.StoreDir); err != nil {
			if !full {
				full = true
				s.log.Error("nothing can be stored; the NATS server is restarted when there is room", "fault", fault, "error", err)
			}
			continue
		}
		s.log.Warn("the NATS server cannot store although there is room; it is restarted", "fault", fault)
		if err := s.restart(); err != nil {
			return fmt.Errorf("the NATS server could not store (%w) and could not be restarted: %w", fault, err)
		}
		s.log.Info("the NATS server stores again")
	}
}

// errNoJetStream is what Watch finds once the server has given up.
var errNoJetStream = errors.New("JetStream is disabled")

// fault returns why the server stores nothing, or nil.
func (s *Server) fault() error {
	srv := s.running()
	if !srv.JetStreamEnabled() {
		return errNoJetStream
	}
	account := srv.GlobalAccount().Name
	streams, err := os.ReadDir(filepath.Join(s.opts.StoreDir, server.JetStreamStoreDir, account, "streams"))
	if err != nil {
		return nil // there is no stream yet, or too little is left to see any
	}
	for _, stream := range streams {
		h := srv.Healthz(&server.HealthzOptions{Account: account, Stream: stream.Name()})
		if strings.Contains(h.Error, "write error") {
			return errors.New(h.Error)
		}
	}
	return nil
}

// room reports why roomFor bytes cannot be stored in a directory, or nil.
func room(dir string) error {
	f, err := os.CreateTemp(dir, ".room-*")
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Repeat([]byte{1}, roomFor))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// restart replaces the server by a new one at the same address.
func (s *Server) restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	stop(s.srv)
	srv, err := run(s.opts, s.log)
	if err != nil {
		return err
	}
	s.srv = srv
	return nil
}

// running is the present server.
func (s *Server) running() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// Shutdown stops the server and waits for its end.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	stop(s.srv)
}

func stop(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}
