package natstest_test

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func TestVirtualTimeAndRestart(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		nc := s.Connect(t)
		js := natstest.JetStream(t, nc)
		natstest.Streams(t, js)
		if _, err := js.Publish(t.Context(), "smith.event.custom.x.y", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		<-time.After(10 * time.Minute)
		if got := time.Since(begin); got != 10*time.Minute {
			t.Fatalf("slept %s of virtual time", got)
		}
		s.Down()
		s.Up(t)
		// The client may believe itself connected until it reads again.
		for nc.Stats().Reconnects == 0 {
			<-time.After(10 * time.Millisecond)
		}
		if _, err := js.Publish(t.Context(), "smith.event.custom.x.y", []byte("{}")); err != nil {
			t.Fatalf("publish after a restart: %v", err)
		}
	})
}

func TestBubblesDoNotShareTimers(t *testing.T) {
	for range 10 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				nc := natstest.Start(t).Connect(t)
				for range 20 {
					if err := nc.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	s := natstest.Listen(t)
	nc := s.Connect(t)
	if err := nc.Publish("a", nil); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}
