// Package detector finds agents that died or hang.
//
// It hears every heartbeat on smith.heartbeat.*, knows from the event log who
// was started and who ended, and publishes what it concludes: agent.failed,
// agent.recovered, agent.state_changed and, for agents nobody announced,
// agent.created. It answers smith.detector.{status,agents,monitor,unmonitor,
// probe}. It decides nothing beyond that: what to do about a failure is the
// supervisor's matter.
package detector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/services/detector/internal/correlation"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
	"github.com/mistersmith/mistersmith/services/detector/internal/synadia"
	"github.com/mistersmith/mistersmith/services/detector/internal/watch"
)

// Downstream is the name of the event stream in breakers, bulkheads, retries
// and timeouts of the configuration.
const Downstream = "event_stream"

// Config sets the rules. The zero value is useful.
type Config struct {
	// Algorithm is tail (default), normal or fixed.
	Algorithm string
	// PhiThreshold is the level of suspicion of a verdict; 0 is the
	// algorithm's own: 4.3 for tail, 8 for normal, FailureThreshold for fixed.
	PhiThreshold float64
	// TargetMistakesPerDay, where not 0 and PhiThreshold is, chooses the level
	// by the wrong verdicts that one agent may cause per day.
	TargetMistakesPerDay float64
	// SamplingWindowSize is how many gaps normal remembers (100); tail counts
	// all, the older for less.
	SamplingWindowSize int
	// FailureThreshold is how many missed beats are a failure (3) until
	// MinSamples (10) gaps are known.
	FailureThreshold, MinSamples int
	// HeartbeatInterval is assumed of agents that declare none (5s), until
	// their own is seen.
	HeartbeatInterval time.Duration
	// StartDeadline is how long a first heartbeat may take (30s), where the
	// start event does not say.
	StartDeadline time.Duration
	// MinStdDeviation and MaxStdDeviation bound normal's deviation; 0: shares
	// of the mean gap.
	MinStdDeviation, MaxStdDeviation time.Duration
	// ProbeTimeout bounds a ping (1s).
	ProbeTimeout time.Duration
	// ReconnectGrace is how long agents may take to be heard again after the
	// detector's start or a reconnect (5s).
	ReconnectGrace time.Duration
	// ForgetAfter is how long agents that left or failed are remembered (1h).
	ForgetAfter time.Duration
	// MaxAgents bounds the agents that nobody announced (100,000).
	MaxAgents int
	// MaxUnread is how many heartbeats may wait to be read (1,000,000); beyond
	// that they are lost, which makes the detector doubt itself.
	MaxUnread int
	// Correlation says when the silences of many are one matter.
	Correlation Correlation
	// Synadia, where not nil, watches agents of the Synadia Agent Protocol too.
	Synadia *Synadia
	// Agents are rules for single agents.
	Agents map[string]AgentRules
	// File gives the guard of downstream calls its settings; nil is the
	// defaults.
	File *config.File
}

// Correlation says when many agents that fall silent together are one finding,
// and what becomes of the verdicts on them. The zero value is the defaults
// named here.
type Correlation struct {
	// Share (0.5) of a runner's agents, of a type's or of the fleet, and at
	// least Minimum (5), make a finding when their silences are noticed within
	// Window (10s).
	Share   float64
	Minimum int
	Window  time.Duration
	// Hold (20s) is how long a verdict is held. Then ReleaseRate (10) are
	// released in a second, or a thirtieth of the fleet if that is more.
	Hold        time.Duration
	ReleaseRate float64
}

// AgentRules change rules for one agent; zero fields change nothing.
type AgentRules struct {
	PhiThreshold     float64
	FailureThreshold int
}

// Synadia says how agents that speak the Synadia Agent Protocol are watched;
// empty fields are its defaults.
type Synadia struct {
	// Subject of their heartbeats (agents.hb.*.*.*). Its last three tokens are
	// agent, owner and name, or wildcards for them.
	Subject string
	// AgentID makes ids of {agent}, {owner}, {name} and {instance}
	// ({agent}-{owner}-{name}).
	AgentID string
}

// FromFile gives the settings that a configuration file has for the service.
func FromFile(f *config.File) Config {
	d := f.FailureDetection
	c := Config{
		Algorithm:    string(d.Algorithm),
		PhiThreshold: d.PhiThreshold,

		TargetMistakesPerDay: d.TargetMistakesPerDay,

		SamplingWindowSize: d.SamplingWindowSize,
		FailureThreshold:   d.FailureThreshold,
		MinSamples:         d.MinSamples,
		HeartbeatInterval:  d.HeartbeatInterval,
		StartDeadline:      f.Verification.StartDeadline,
		MinStdDeviation:    d.MinStdDeviation,
		MaxStdDeviation:    d.MaxStdDeviation,
		ProbeTimeout:       d.ProbeTimeout,
		MaxAgents:          f.Limits.MaxAgents,
		Correlation:        Correlation(d.Correlation),
		Agents:             map[string]AgentRules{},
		File:               f,
	}
	if s := f.Synadia; s.Subject != "" {
		c.Synadia = &Synadia{Subject: s.Subject, AgentID: s.AgentID}
	}
	c.agentRules(f.Tree.Root, d)
	return c
}

// agentRules collects the agents of a subtree whose rules are not the fleet's.
func (c *Config) agentRules(n config.Node, d config.FailureDetection) {
	for _, child := range n.Children {
		if child.Node != nil {
			c.agentRules(*child.Node, d)
			continue
		}
		a, own := child.Agent, AgentRules{}
		if a.PhiThreshold != d.PhiThreshold {
			own.PhiThreshold = a.PhiThreshold
		}
		if a.FailureThreshold != d.FailureThreshold {
			own.FailureThreshold = a.FailureThreshold
		}
		if own != (AgentRules{}) {
			c.Agents[a.Name] = own
		}
	}
}

// Validate reports every setting that cannot be meant, or nil.
func (c Config) Validate() error {
	var errs []error
	if _, err := suspicion.ParseAlgorithm(c.Algorithm); err != nil {
		errs = append(errs, fmt.Errorf("algorithm: %w", err))
	}
	errs = append(errs, c.rules().Validate(), correlation.Config(c.Correlation).Validate())
	if _, err := c.mapping(); err != nil {
		errs = append(errs, fmt.Errorf("synadia: %w", err))
	}
	if c.SamplingWindowSize < 0 {
		errs = append(errs, fmt.Errorf("sampling_window_size: %d is negative", c.SamplingWindowSize))
	}
	if c.MaxUnread < 0 {
		errs = append(errs, fmt.Errorf("max_unread: %d is negative", c.MaxUnread))
	}
	if c.ProbeTimeout < 0 || c.ReconnectGrace < 0 {
		errs = append(errs, errors.New("probe_timeout and reconnect_grace: must not be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	return nil
}

func (c Config) rules() fleet.Config {
	algorithm, _ := suspicion.ParseAlgorithm(c.Algorithm)
	rules := fleet.Config{
		Suspicion: suspicion.Settings{
			Algorithm: algorithm, Window: c.SamplingWindowSize, Floor: c.MinStdDeviation, Ceiling: c.MaxStdDeviation,
		},
		Threshold: c.PhiThreshold, TargetMistakes: c.TargetMistakesPerDay, MinSamples: c.MinSamples, MissedBeats: c.FailureThreshold,
		Interval: c.HeartbeatInterval, StartDeadline: c.StartDeadline,
		ForgetAfter: c.ForgetAfter, MaxAgents: c.MaxAgents, Overrides: map[string]fleet.Override{},
	}
	for agent, r := range c.Agents {
		rules.Overrides[agent] = fleet.Override{Threshold: r.PhiThreshold, MissedBeats: r.FailureThreshold}
	}
	return rules
}

// mapping is nil where no agents of the protocol are watched.
func (c Config) mapping() (*synadia.Mapping, error) {
	if c.Synadia == nil {
		return nil, nil
	}
	return synadia.New(c.Synadia.Subject, c.Synadia.AgentID)
}

// Run watches until ctx ends. It is ready once it knows from the log who is
// expected and hears heartbeats.
func Run(ctx context.Context, env shell.Env, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	var down shell.Teardown
	defer func() { err = errors.Join(err, down.Run(env.Log)) }()

	mapping, err := cfg.mapping()
	if err != nil {
		return err
	}
	store, state := shell.NewGuard(env, cfg.File, Downstream), shell.NewGuard(env, cfg.File, stateStore)
	down.Add("guards", 2*time.Second, func(ctx context.Context) error { return errors.Join(store.Close(ctx), state.Close(ctx)) })
	w, err := watch.New(env, watch.Config{
		Rules: cfg.rules(), Settings: cfg.settings(), Correlation: correlation.Config(cfg.Correlation),
		Grace: cfg.ReconnectGrace, ProbeTimeout: cfg.ProbeTimeout, Synadia: mapping, MaxUnread: cfg.MaxUnread,
	}, store, state)
	if err != nil {
		return err
	}
	return w.Run(ctx, func() error {
		api, err := shell.NewAPI(ctx, env, "finds agents that died or hang", nil)
		if err != nil {
			return err
		}
		down.Add("api", 2*time.Second, api.Stop)
		if err := w.Serve(api); err != nil {
			return err
		}
		env.Ready()
		return nil
	})
}

// stateStore is the name of the bucket of operators' orders in breakers,
// bulkheads, retries and timeouts of the configuration.
const stateStore = "state_store"
