package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

const (
	// rulesPatience is how long the start waits for what operators ordered.
	rulesPatience = 2 * time.Second
	rulesRetry    = time.Second
)

// followRules takes over what operators ordered of single agents, now and
// whenever it changes, by this detector's API or another's.
func (w *Watcher) followRules(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	known := make(chan struct{})
	var once sync.Once
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			err := w.readRules(ctx, func() { once.Do(func() { close(known) }) })
			if ctx.Err() == nil {
				w.env.Log.Debug("following the rules for agents", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(rulesRetry):
			}
		}
	})
	stop = func() { cancel(); done.Wait() }
	select {
	case <-known:
	case <-time.After(rulesPatience):
		w.env.Log.Warn("rules that operators ordered for single agents are not known yet", "bucket", contracts.StateBucket)
	case <-ctx.Done():
		stop()
		return nil, ctx.Err()
	}
	return stop, nil
}

// readRules follows the bucket until ctx ends or the watch breaks off.
func (w *Watcher) readRules(ctx context.Context, known func()) error {
	bucket, err := shell.WaitBucket(ctx, w.env, contracts.StateBucket, contracts.ServiceEventStore)
	if err != nil {
		return err
	}
	watch, err := bucket.Watch(ctx, contracts.DetectorRuleKey("*"))
	if err != nil {
		return fmt.Errorf("watch %s: %w", contracts.StateBucket, err)
	}
	defer func() { _ = watch.Stop() }()
	live := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-watch.Updates():
			switch {
			case !open:
				return errors.New("the watch ended")
			case e == nil:
				live = true
				known()
			case e.Operation() == jetstream.KeyValuePut:
				w.readRule(e, live)
			}
		}
	}
}

// decodeRule reads the rule for the agent that its key names. One that makes it
// ignored says nothing else.
func decodeRule(key string, value []byte) (agent string, rule contracts.DetectorRule, err error) {
	agent = strings.TrimPrefix(key, contracts.DetectorRuleKey(""))
	if err := errors.Join(contracts.ValidateID(agent), json.Unmarshal(value, &rule)); err != nil {
		return agent, rule, err
	}
	if rule.Ignored {
		return agent, contracts.DetectorRule{Ignored: true}, nil
	}
	return agent, rule, checkMonitoring(rule.Monitoring(agent))
}

// readRule takes one agent's rule.
func (w *Watcher) readRule(e jetstream.KeyValueEntry, live bool) {
	agent, rule, err := decodeRule(e.Key(), e.Value())
	if err != nil {
		w.rejects.reject(shell.Message{Kind: "rule", Subject: e.Key(), Sequence: e.Revision(), Body: e.Value()}, err)
		return
	}
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return w.rule(f, now, agent, rule, live) })
}

// rule applies a rule. One that was ordered long ago changes how an agent is
// watched, but makes nobody wait for it.
func (w *Watcher) rule(f *fleet.Fleet, now fleet.Instant, agent string, rule contracts.DetectorRule, ordered bool) []fleet.Finding {
	f.Rule(agent, fleet.Order{Threshold: rule.Threshold, Interval: rule.Interval.D(), Ignored: rule.Ignored})
	_, known := f.Agent(now, agent)
	switch {
	case rule.Ignored:
		_, found := f.Unmonitor(now, agent)
		return found
	case ordered || known:
		return f.Monitor(now, agent, fleet.Monitoring{
			Interval: rule.Interval.D(), StartDeadline: rule.StartDeadline.D(), Threshold: rule.Threshold,
		})
	}
	return nil
}

// order stores a rule, so that it holds for every detector and after a restart,
// and applies it here.
func (w *Watcher) order(ctx context.Context, agent string, rule contracts.DetectorRule) error {
	body, err := json.Marshal(rule)
	if err != nil {
		return err
	}
	err = w.state.Run(ctx, "write", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		bucket, err := w.env.JS.KeyValue(ctx, contracts.StateBucket)
		if err == nil {
			// The last order counts, so there is nothing to compare with.
			_, err = bucket.Put(ctx, contracts.DetectorRuleKey(agent), body)
		}
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			err = guard.Permanent(err)
		}
		return err
	})
	if err != nil {
		return shell.Errorf(contracts.CodeNotReady, "the rule for %s cannot be stored in %s, so nothing is changed: %v; try again", agent, contracts.StateBucket, err)
	}
	w.judge(func(f *fleet.Fleet, now fleet.Instant) []fleet.Finding { return w.rule(f, now, agent, rule, true) })
	return nil
}

// checkMonitorRequest tells what is wrong with a request; what it does not refuse
// can be stored as a rule.
func checkMonitorRequest(r contracts.MonitorRequest) error {
	if err := checkAgent(r.Agent); err != nil {
		return err
	}
	return checkMonitoring(r)
}

// ruleOf is the rule that a request orders.
func ruleOf(r contracts.MonitorRequest) contracts.DetectorRule {
	return contracts.DetectorRule{Interval: r.Interval, StartDeadline: r.StartDeadline, Threshold: r.Threshold}
}

func checkMonitoring(r contracts.MonitorRequest) error {
	if d := r.Interval.D(); d != 0 && interval(r.Interval) == 0 {
		return shell.Errorf(contracts.CodeBadRequest, "interval: %s is outside %s to %s", d, contracts.MinHeartbeatInterval, contracts.MaxHeartbeatInterval)
	}
	if r.StartDeadline < 0 {
		return shell.Errorf(contracts.CodeBadRequest, "start_deadline: %s is negative", r.StartDeadline)
	}
	if r.Threshold < 0 || r.Threshold > fleet.MaxThreshold {
		return shell.Errorf(contracts.CodeBadRequest, "threshold: %g is outside 0 to %d", r.Threshold, fleet.MaxThreshold)
	}
	return nil
}
