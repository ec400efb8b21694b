// Package demo shows the main job on real input: a fleet of real processes,
// tasks flowing through it, and six kinds of failure, one after another. What
// it reports it has read from the event log; it succeeds only if everything
// recovered as its strategy says and no task was lost.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/up"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Options of the demo.
type Options struct {
	// Self is the program whose command demo-agent runs Agent.
	Self string
	// Timeline is told what happens as it happens; Colour for a terminal.
	Timeline io.Writer
	Colour   bool
	Log      *slog.Logger
}

const (
	startWithin = 30 * time.Second
	drainWithin = 20 * time.Second
	askWithin   = 5 * time.Second
)

// Run performs the demo. An error means that it could not be performed; what
// did not recover is in the report.
func Run(ctx context.Context, o Options) (r Report, err error) {
	begin := time.Now()
	dir, err := os.MkdirTemp("", "smith-demo-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f, err := fleet(o.Self, dir)
	if err != nil {
		return r, err
	}
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	url, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- up.Run(serving, up.Options{
			Listen: "127.0.0.1:0", StoreDir: filepath.Join(dir, "store"), Runner: "local", File: f, Log: o.Log,
		}, func(u string) { url <- u })
	}()
	select {
	case err := <-ended:
		return r, fmt.Errorf("start: %w", err)
	case u := <-url:
		s := &stage{Options: o, dir: dir, begin: begin, fleet: agents(&f.Tree.Root)}
		r, err = s.perform(ctx, u)
		s.say("stopping the fleet")
		cancel()
		if endErr := <-ended; endErr != nil {
			r.Problems = append(r.Problems, "shutdown: "+endErr.Error())
		}
	}
	r.OK = err == nil && len(r.Problems) == 0
	r.Took = time.Since(begin).Seconds()
	return r, err
}

// stage is one performance.
type stage struct {
	Options
	dir   string
	begin time.Time
	fleet []string
	nc    *nats.Conn
	seen  *observer
	load  *load
	// settled are the incarnations after the last fault.
	settled map[string]uint64
}

func (s *stage) perform(ctx context.Context, url string) (Report, error) {
	nc, err := shell.NATSFlags{Server: url, Timeout: askWithin}.Connect(ctx, "smith demo", s.Log)
	if err != nil {
		return Report{}, err
	}
	defer nc.Close()
	s.nc = nc
	js, err := shell.JetStream(ctx, nc)
	if err != nil {
		return Report{}, err
	}
	seen, stop, err := observe(ctx, js)
	if err != nil {
		return Report{}, err
	}
	defer stop()
	s.seen = seen
	s.say("NATS and five services are up at %s", url)
	if err := s.started(ctx); err != nil {
		return Report{}, err
	}
	l := &load{js: js, enough: make(chan struct{})}
	s.load = l
	loading := make(chan error, 1)
	go func() { loading <- l.run(ctx) }()
	r := Report{Agents: len(s.fleet)}
	err = s.sufferAll(ctx, &r)
	close(l.enough)
	if err := errors.Join(err, <-loading); err != nil {
		return r, err
	}
	s.drained(ctx, &r, l.count())
	if moved := s.restless(s.seen.incarnations()); moved != "" {
		r.Problems = append(r.Problems, moved)
	}
	s.conclude(ctx, &r)
	return r, nil
}

// started waits until the whole fleet runs and is verified.
func (s *stage) started(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := s.seen.until(ctx, func() bool { return len(s.seen.running) >= len(s.fleet) }); err != nil {
		return fmt.Errorf("%d of %d agents running after %s: %w", len(s.seen.incarnations()), len(s.fleet), startWithin, err)
	}
	s.say("%d agents run and are verified, in four groups", len(s.fleet))
	return nil
}

func (s *stage) sufferAll(ctx context.Context, r *Report) error {
	for _, f := range faults() {
		result, err := s.suffer(ctx, f)
		if err != nil {
			return err
		}
		r.Faults = append(r.Faults, result)
		if !result.OK {
			r.Problems = append(r.Problems, result.Fault+": "+result.Problem)
		}
	}
	return nil
}

// drained waits until every task is done and counts.
func (s *stage) drained(ctx context.Context, r *Report, submitted int) {
	s.say("waiting for the last of %d tasks", submitted)
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	count := func() (completed, reassigned int) {
		for n := 1; n <= submitted; n++ {
			if t := s.seen.tasks[taskID(n)]; t != nil {
				if t.completed {
					completed++
				}
				reassigned += t.reassigned
			}
		}
		return completed, reassigned
	}
	_ = s.seen.until(ctx, func() bool { done, _ := count(); return done == submitted })
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	completed, reassigned := count()
	r.Tasks = TaskCounts{Submitted: submitted, Completed: completed, Reassigned: reassigned, Lost: submitted - completed}
	if r.Tasks.Lost > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("%d tasks not done after %s", r.Tasks.Lost, drainWithin))
	}
	for _, err := range s.seen.bad {
		r.Problems = append(r.Problems, "unreadable event: "+err.Error())
	}
}

// whyAgent is the one whose last restart is explained: it was restarted
// because of another's failure.
const whyAgent = "load"

func (s *stage) conclude(ctx context.Context, r *Report) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	why, err := shell.Call[contracts.WhyReply](ctx, s.nc, contracts.ServiceSubject(contracts.ServiceEventStore, "why"), contracts.WhyRequest{Agent: whyAgent})
	if err != nil {
		r.Problems = append(r.Problems, "why "+whyAgent+": "+err.Error())
	}
	r.Why = why
	stats, err := shell.Call[contracts.StoreStats](ctx, s.nc, contracts.ServiceSubject(contracts.ServiceEventStore, "stats"), struct{}{})
	if err != nil {
		r.Problems = append(r.Problems, "statistics: "+err.Error())
	}
	r.Events, r.Rejected = stats.Events, stats.Rejected
}

// say adds a line to the timeline.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.Timeline, "%s  %s\n", s.paint("2", fmt.Sprintf("%6.2fs", time.Since(s.begin).Seconds())), fmt.Sprintf(format, args...))
}

func (s *stage) outcome(r FaultResult) {
	if r.OK {
		s.say("  %s verified after %s: %s", s.paint("32", "✓"), ms(r.Recover), r.moves())
		return
	}
	s.say("  %s %s: %s", s.paint("31", "✗"), r.Problem, r.moves())
}

// paint colours text by an ANSI code where that is wanted.
func (s *stage) paint(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
