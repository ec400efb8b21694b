package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Program is a service as a binary of its own.
type Program struct {
	Service     string
	Description string
	// Examples are command lines that --help shows.
	Examples []string
	// HTTP is the default address of health and metrics.
	HTTP string
	// Flags is a pointer to the service's own kong flags, or nil.
	Flags any
	// Rereads says that Run uses all of the configuration, agents too, and reads it
	// again for each of Env.Hangups.
	Rereads bool
	Run     func(ctx context.Context, env Env, f *config.File) error
}

// LogFlags say what is logged and how.
type LogFlags struct {
	LogLevel  string `env:"SMITH_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"What is logged: ${enum}."`
	LogFormat string `env:"SMITH_LOG_FORMAT" default:"auto" enum:"auto,text,json" help:"Log format: ${enum}; auto is text on a terminal."`
}

// Logger makes the logger that the flags ask for, on standard error.
func (f LogFlags) Logger(w io.Writer) (*slog.Logger, error) {
	return NewLogger(w, f.LogLevel, f.LogFormat)
}

type programFlags struct {
	NATSFlags `group:"NATS"`
	LogFlags  `group:"Logging"`
	Config    string           `short:"c" env:"SMITH_CONFIG" type:"path" placeholder:"FILE" help:"supervision-config.yaml; without it, the defaults."`
	HTTP      string           `name:"http" env:"SMITH_HTTP" default:"${http}" placeholder:"ADDR" help:"Address of /healthz, /readyz and /metrics; \"\" for none (default ${http})."`
	Instance  string           `env:"SMITH_INSTANCE" placeholder:"ID" help:"Name of this process among several of its kind (default: random)."`
	Version   kong.VersionFlag `help:"Print the version."`
}

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Main runs the program with the process's arguments and gives its exit code.
func (p Program) Main(args []string, stdout, stderr io.Writer) int {
	var flags programFlags
	opts := []kong.Option{
		kong.Name(p.Service), kong.Description(p.help()),
		kong.Writers(stdout, stderr),
		kong.Vars{"http": p.HTTP, "server": DefaultServer, "version": p.Service + " " + Version},
	}
	if p.Flags != nil {
		opts = append(opts, kong.Embed(p.Flags))
	}
	exited := -1
	opts = append(opts, kong.Exit(func(code int) { exited = code }))
	parser, err := kong.New(&flags, opts...)
	if err != nil {
		fmt.Fprintln(stderr, p.Service+":", err)
		return ExitFailed
	}
	_, err = parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v; see %s --help\n", p.Service, err, p.Service)
		return ExitUsage
	}
	log, err := flags.Logger(stderr)
	if err != nil {
		fmt.Fprintln(stderr, p.Service+":", err)
		return ExitUsage
	}
	if flags.Instance != "" {
		if err := contracts.ValidateID(flags.Instance); err != nil {
			fmt.Fprintf(stderr, "%s: --instance: %v\n", p.Service, err)
			return ExitUsage
		}
	}
	load := config.LoadSettings
	if p.Rereads {
		load = config.Load
	}
	f, err := load(flags.Config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return ExitUsage
	}
	OutliveLogReaders()
	ctx, stop := Signals(context.Background(), log, nil)
	defer stop()
	hangups := Hangups(ctx)
	if !p.Rereads {
		go endure(ctx, hangups, log.With("service", p.Service))
	}
	if err := p.run(ctx, flags, f, log, hangups); err != nil {
		log.Error(p.Service+" ends", "error", err)
		return ExitFailed
	}
	return ExitOK
}

// help is what --help says before the flags.
func (p Program) help() string {
	if len(p.Examples) == 0 {
		return p.Description
	}
	return p.Description + "\n\nExamples:\n  " + strings.Join(p.Examples, "\n  ")
}

func (p Program) run(ctx context.Context, flags programFlags, f *config.File, log *slog.Logger, hangups <-chan struct{}) (err error) {
	metrics := NewMetrics()
	health := NewHealth(p.Service)
	var down Teardown
	defer func() { err = errors.Join(err, down.Run(log)) }()
	if flags.HTTP != "" {
		web, err := ListenHTTP(flags.HTTP, health, metrics)
		if err != nil {
			return err
		}
		down.Add("http", 2*time.Second, web.Close)
		log.Info("health and metrics", "address", "http://"+web.Addr())
	}
	instance := flags.Instance
	if instance == "" {
		instance = NewInstance(p.Service)
	}
	nc, err := flags.Connect(ctx, instance, log)
	if err != nil {
		return err
	}
	down.Add("nats", time.Second, func(context.Context) error { nc.Close(); return nil })
	env, err := NewEnv(ctx, p.Service, instance, nc, log, metrics, health)
	if err != nil {
		return err
	}
	env.Hangups = hangups
	return Run(ctx, env, func(ctx context.Context, env Env) error { return p.Run(ctx, env, f) })
}

// NewMetrics is a registry with the process's and Go's own metrics.
func NewMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// sameSignal is how soon after the first a signal counts as the first again:
// timeout(1), and shells that end a job, signal a process and then its group.
const sameSignal = 500 * time.Millisecond

// Signals returns a context that ends at SIGINT or SIGTERM. A second signal, not
// a repetition of the first, ends the process at once, after last, which may be nil.
func Signals(parent context.Context, log *slog.Logger, last func()) (context.Context, func()) {
	return signals(parent, log, sameSignal, last)
}

func signals(parent context.Context, log *slog.Logger, same time.Duration, last func()) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-ch:
			log.Info("shutting down; a second signal ends at once", "signal", s.String())
			cancel()
		case <-done:
			return
		}
		for first := time.Now(); ; {
			select {
			case <-ch:
				if time.Since(first) > same {
					if last != nil {
						last()
					}
					os.Exit(ExitFailed)
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel()
	}
}
