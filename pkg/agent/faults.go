package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// FaultKind is a way in which a fault injector makes an agent misbehave.
type FaultKind string

// The kinds of faults.
const (
	// FaultPanic panics with an error that wraps ErrInjected.
	FaultPanic FaultKind = "panic"
	// FaultTimeout waits until the context's deadline, or for
	// FaultPlan.Timeout where it has none, and returns an error that wraps
	// ErrInjected and context.DeadlineExceeded.
	FaultTimeout FaultKind = "timeout"
	// FaultError returns an error that wraps ErrInjected.
	FaultError FaultKind = "error"
	// FaultHang blocks for FaultPlan.Hang, deaf to the context as a hung
	// agent is, and then lets the work go on.
	FaultHang FaultKind = "hang"
	// FaultExhaustion holds FaultPlan.Bytes of touched memory for
	// FaultPlan.Hold or until the context ends, and returns an error that
	// wraps ErrInjected and ErrExhausted.
	FaultExhaustion FaultKind = "resource_exhaustion"
)

// FaultKinds lists all kinds in a fixed order.
func FaultKinds() []FaultKind {
	return []FaultKind{FaultPanic, FaultTimeout, FaultError, FaultHang, FaultExhaustion}
}

// ErrInjected is wrapped by every error and panic a fault injector makes, so
// that tests can tell them from real ones.
var ErrInjected = errors.New("injected fault")

// ErrExhausted is wrapped by the error of FaultExhaustion.
var ErrExhausted = errors.New("resource exhausted")

// FaultPlan says which faults to inject and how often. The zero plan injects
// none.
type FaultPlan struct {
	// Rate is the share of calls that get a fault, from 0 to 1.
	Rate float64
	// Kinds are drawn from with equal chance; empty means all.
	Kinds []FaultKind
	// Seed makes the sequence of faults repeatable: equal plans give equal
	// sequences. With concurrent callers the sequence stays the same; which
	// caller gets which fault does not.
	Seed uint64
	// Hang is how long FaultHang blocks; 30 s by default.
	Hang time.Duration
	// Timeout is how long FaultTimeout waits without a deadline; 5 s by
	// default.
	Timeout time.Duration
	// Bytes is what FaultExhaustion allocates; 64 MiB by default.
	Bytes int
	// Hold is how long FaultExhaustion keeps it; 1 s by default.
	Hold time.Duration
}

func (p FaultPlan) withDefaults() FaultPlan {
	if len(p.Kinds) == 0 {
		p.Kinds = FaultKinds()
	}
	p.Hang = orDefault(p.Hang, 30*time.Second)
	p.Timeout = orDefault(p.Timeout, 5*time.Second)
	p.Bytes = orDefault(p.Bytes, 64<<20)
	p.Hold = orDefault(p.Hold, time.Second)
	return p
}

// Validate reports everything that is wrong with the plan, or nil.
func (p FaultPlan) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !(p.Rate >= 0 && p.Rate <= 1) {
		add("Rate: %v; use a share from 0 to 1", p.Rate)
	}
	for i, k := range p.Kinds {
		if !slices.Contains(FaultKinds(), k) {
			add("Kinds[%d]: %.40q is no kind of fault; use %v", i, string(k), FaultKinds())
		}
	}
	if p.Hang < 0 || p.Timeout < 0 || p.Hold < 0 {
		add("Hang, Timeout and Hold: must not be negative")
	}
	if p.Bytes < 0 {
		add("Bytes: %d; must not be negative", p.Bytes)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fault plan: %w", err)
	}
	return nil
}

// Faults injects faults into an agent's work, to see how its supervision takes
// them. A nil *Faults injects nothing, so the line that injects can stay in
// production code. It is safe for concurrent use.
type Faults struct {
	plan FaultPlan

	mu     sync.Mutex
	random *rand.Rand
	calls  uint64
	counts map[FaultKind]uint64
}

// NewFaults makes a fault injector after a plan.
func NewFaults(p FaultPlan) (*Faults, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &Faults{
		plan:   p.withDefaults(),
		random: rand.New(rand.NewPCG(p.Seed, p.Seed^0x9e3779b97f4a7c15)),
		counts: make(map[FaultKind]uint64),
	}, nil
}

// Inject does nothing or, at the plan's rate, one fault: it returns an error,
// blocks, or panics. The error is for the caller to return as its own.
func (f *Faults) Inject(ctx context.Context) error {
	kind, call := f.draw()
	switch kind {
	case FaultPanic:
		panic(fmt.Errorf("%w: panic at call %d", ErrInjected, call))
	case FaultError:
		return fmt.Errorf("%w: error at call %d", ErrInjected, call)
	case FaultTimeout:
		f.awaitDeadline(ctx)
		return fmt.Errorf("%w: timeout at call %d: %w", ErrInjected, call, context.DeadlineExceeded)
	case FaultHang:
		<-time.After(f.plan.Hang)
		return nil
	case FaultExhaustion:
		f.exhaust(ctx)
		return fmt.Errorf("%w: held %d bytes at call %d: %w", ErrInjected, f.plan.Bytes, call, ErrExhausted)
	default:
		return nil
	}
}

// Wrap gives a handler that injects before each task.
func (f *Faults) Wrap(h Handler) Handler {
	return func(ctx context.Context, t *Task) (any, error) {
		if err := f.Inject(ctx); err != nil {
			return nil, err
		}
		return h(ctx, t)
	}
}

// Counts gives how many faults of each kind were injected so far.
func (f *Faults) Counts() map[FaultKind]uint64 {
	out := make(map[FaultKind]uint64)
	if f == nil {
		return out
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, n := range f.counts {
		out[k] = n
	}
	return out
}

// Calls gives how often Inject was called so far.
func (f *Faults) Calls() uint64 {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// draw decides one call's fault, "" for none, and counts it.
func (f *Faults) draw() (kind FaultKind, call uint64) {
	if f == nil {
		return "", 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.random.Float64() >= f.plan.Rate {
		return "", f.calls
	}
	kind = f.plan.Kinds[f.random.IntN(len(f.plan.Kinds))]
	f.counts[kind]++
	return kind, f.calls
}

func (f *Faults) awaitDeadline(ctx context.Context) {
	if _, ok := ctx.Deadline(); ok {
		<-ctx.Done()
		return
	}
	pause(ctx, f.plan.Timeout)
}

func (f *Faults) exhaust(ctx context.Context) {
	const page = 4096
	held := make([]byte, f.plan.Bytes)
	for i := 0; i < len(held); i += page {
		held[i] = 1
	}
	pause(ctx, f.plan.Hold)
	runtime.KeepAlive(held)
}

// pause waits for d or until ctx ends; it tells whether the time passed.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// orDefault gives v, or d where v is the zero value.
func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
