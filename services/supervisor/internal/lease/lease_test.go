package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// world is a server with the bucket.
type world struct {
	t      *testing.T
	server *natstest.Server
}

func newWorld(t *testing.T) *world {
	s := natstest.Start(t)
	natstest.Streams(t, natstest.JetStream(t, s.Connect(t)))
	return &world{t, s}
}

// inWorld runs a parallel test in virtual time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) { test(t, newWorld(t)) })
}

// contest runs a test of two supervisors of one tree.
func contest(t *testing.T, test func(t *testing.T, w *world, a, b *Lease)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		a, _ := w.open("a", "main")
		b, _ := w.open("b", "main")
		test(t, w, a, b)
	})
}

// open returns the lease as a supervisor sees it that has a connection of its own.
func (w *world) open(name, tree string) (*Lease, *nats.Conn) {
	w.t.Helper()
	nc := w.server.Connect(w.t)
	env, err := shell.NewEnv(w.t.Context(), "supervisor", name, nc, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), shell.NewHealth())
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := Open(w.t.Context(), env, tree)
	if err != nil {
		w.t.Fatal(err)
	}
	return l, nc
}

// acquire gets the lease and keeps it until end is called.
func (w *world) acquire(l *Lease) (term *Term, end func()) {
	w.t.Helper()
	term, err := l.Acquire(w.t.Context(), func(string) {})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	kept := make(chan struct{})
	go func() {
		term.Keep(ctx, func() bool { return true })
		close(kept)
	}()
	end = func() {
		cancel()
		<-kept
	}
	w.t.Cleanup(end)
	return term, end
}

func TestOneOfManyHasIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		type got struct {
			name string
			term *Term
		}
		has, standing := make(chan got, 5), make(chan string, 5)
		for i := range 5 {
			name := fmt.Sprintf("s%d", i)
			l, _ := w.open(name, "main")
			go func() {
				term, err := l.Acquire(ctx, func(holder string) { standing <- holder })
				if err == nil {
					has <- got{name, term}
				}
			}()
		}
		first := <-has
		keeping, enough := context.WithCancel(t.Context())
		go first.term.Keep(keeping, func() bool { return true })
		for range 4 {
			if holder := <-standing; holder != first.name {
				t.Errorf("%s is said to have it, which %s has", holder, first.name)
			}
		}
		<-time.After(time.Minute)
		select {
		case second := <-has:
			t.Fatalf("%s and %s have it", first.name, second.name)
		default:
		}
		if !first.term.Held() || first.term.Confirm(ctx) != nil {
			t.Error("its holder does not know")
		}
		enough() // as when it is killed
		begin := time.Now()
		second := <-has
		took := time.Since(begin)
		if took > TTL+2*pollEvery {
			t.Errorf("taken after %s", took)
		}
		t.Logf("taken %s after the last renewal could have come", took)
		if first.term.Held() {
			t.Error("its former holder thinks that it has it")
		}
		<-time.After(TTL / 2)
		if len(has) > 0 {
			t.Error("a third has it, too")
		}
		second.term.Release(ctx)
		begin = time.Now()
		<-has
		if took := time.Since(begin); took > 2*pollEvery {
			t.Errorf("after its release it was taken after %s", took)
		}
		cancel()
	})
}

// A holder that stood still, as after SIGSTOP, finds out by itself.
func TestWhoeverStoodStillFindsOut(t *testing.T) {
	contest(t, func(t *testing.T, w *world, a, b *Lease) {
		term, stop := w.acquire(a)
		stop()
		other, _ := w.acquire(b)
		if term.Held() || !other.Held() {
			t.Errorf("held: %t, %t", term.Held(), other.Held())
		}
		go term.Keep(t.Context(), func() bool { return true })
		if err := term.Confirm(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("it confirms: %v", err)
		}
		<-term.Lost()
		term.Release(t.Context()) // which does nothing to the other's
		<-time.After(TTL)
		if !other.Held() {
			t.Error("the other lost it")
		}
	})
}

// A renewal that was stored and whose answer did not come does not keep its holder
// from giving the lease up.
func TestReleaseAmidARenewal(t *testing.T) {
	contest(t, func(t *testing.T, w *world, a, b *Lease) {
		term, stop := w.acquire(a)
		stop()
		if _, err := a.write(t.Context(), term.rec, term.revision); err != nil {
			t.Fatal(err)
		}
		term.Release(t.Context())
		begin := time.Now()
		w.acquire(b)
		if took := time.Since(begin); took > 2*pollEvery {
			t.Errorf("taken %s after it was released", took)
		}
	})
}

// Standing still alone costs nothing, nor does a new bucket or an outage of NATS.
func TestNobodyElseWantsIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, nc := w.open("a", "main")
		term, stop := w.acquire(a)
		stop()
		<-time.After(time.Minute)
		go term.Keep(t.Context(), func() bool { return true })
		if err := term.Confirm(t.Context()); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		if err := a.bucket.Purge(t.Context(), contracts.SupervisorLeaseKey); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * TTL)
		if !term.Held() {
			t.Error("not held after it was purged from the bucket")
		}
		b, _ := w.open("b", "main")
		var holder expiry
		mine := record{Tree: "main", Holder: "b", Session: "b"}
		if b.try(t.Context(), &holder, mine) != nil {
			t.Error("taken at first sight")
		}
		before := nc.Stats().Reconnects
		w.server.Down()
		<-time.After(time.Minute)
		w.server.Up(t)
		for nc.Stats().Reconnects == before || b.env.NC.Stats().Reconnects == 0 {
			<-time.After(10 * time.Millisecond)
		}
		for range 30 {
			if b.try(t.Context(), &holder, mine) != nil {
				t.Fatal("taken after an outage, though its holder lives")
			}
			<-time.After(pollEvery)
		}
		if !term.Held() {
			t.Error("lost by the outage")
		}
	})
}

func TestWhoeverHangsLosesIt(t *testing.T) {
	contest(t, func(t *testing.T, w *world, a, b *Lease) {
		term, err := a.Acquire(t.Context(), func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		hangs := make(chan struct{})
		go term.Keep(t.Context(), func() bool {
			select {
			case <-hangs:
				return false
			default:
				return true
			}
		})
		<-time.After(time.Minute)
		if !term.Held() {
			t.Fatal("not held in good health")
		}
		close(hangs)
		w.acquire(b)
	})
}

// An account has one tree: another's supervisor says so. One that is gone is no
// obstacle.
func TestOneTreeToAnAccount(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, _ := w.open("a", "main")
		b, _ := w.open("b", "second")
		_, end := w.acquire(a)
		if _, err := b.Acquire(t.Context(), func(string) { t.Error("it stands by for another tree") }); !errors.Is(err, ErrOtherTree) {
			t.Errorf("%v", err)
		} else {
			t.Log(err)
		}
		end()
		w.acquire(b)
	})
}

// What others wrote there is no reason to stand by for ever, or to stop.
func TestUnreadableLease(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		for _, text := range []string{"", "{", "null", `{"tree":7}`, `{"released":"no"}`} {
			w := newWorld(t)
			a, _ := w.open("a", "main")
			if _, err := a.bucket.PutString(t.Context(), contracts.SupervisorLeaseKey, text); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, end := w.acquire(a)
			if took := time.Since(begin); took < TTL || took > TTL+2*pollEvery {
				t.Errorf("%q: taken after %s", text, took)
			}
			end()
		}
	})
}

// TestProve: a holder can prove that nobody else has had the lease, and one that was
// paused while another took it cannot.
func TestProve(t *testing.T) {
	contest(t, func(t *testing.T, w *world, a, b *Lease) {
		term, end := w.acquire(a)
		for range 3 {
			if err := term.Prove(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		end() // it is paused
		if _, err := b.Acquire(t.Context(), func(string) {}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := term.Prove(t.Context()); !errors.Is(err, ErrLost) {
				t.Errorf("it proves that it has it: %v", err)
			}
		}
	})
}
