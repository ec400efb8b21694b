package e2e

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

const evidenceConfig = `
supervision_tree:
  root_strategy: one_for_one
  failure_detection: {heartbeat_interval: 5s}
  restart_policies:
    default: {max_restarts: 1000, time_window: 1h, restart_delay: 50ms, backoff_strategy: {type: fixed}}
  tree:
    - name: group
      strategy: one_for_one
      policy: default
      children:
        - {name: a, count: 20, type: coder, heartbeat_interval: 5s, stabilisation: 100ms, command: [WORKER, --records, RECORDS]}
`

// TestExitEvidence kills agents with -9, each once the one before runs again, and
// measures how long it takes until the proof of each end is stored and delivered
// by the event stream. Their heartbeats come every 5 s: silence would take longer.
func TestExitEvidence(t *testing.T) {
	kills := 40
	if os.Getenv("E2E_SCALE") != "" {
		kills = 300
	} else {
		t.Parallel()
	}
	s := deploy(t, evidenceConfig)
	want := map[string]uint64{}
	for i := range 20 {
		want[fmt.Sprintf("a-%d", i+1)] = 1
	}
	now := s.waitRunning(want)
	names := make([]string, 0, len(now))
	for name := range now {
		names = append(names, name)
	}
	slices.Sort(names)
	failures := s.failures(t)

	var took []time.Duration
	for i := range kills {
		name, incarnation := names[i%len(names)], uint64(i/len(names)+1)
		victim := s.waitRunning(map[string]uint64{name: incarnation})[name]
		began := time.Now()
		if err := syscall.Kill(victim.PID, syscall.SIGKILL); victim.PID <= 1 || err != nil {
			t.Fatalf("kill %s, process %d: %v", name, victim.PID, err)
		}
		select {
		case f := <-failures:
			took = append(took, f.at.Sub(began))
			if f.event.Entity != name {
				t.Fatalf("killed %s, the event is about %s", name, f.event.Entity)
			}
			d, err := contracts.DecodeData[contracts.AgentFailedData](f.event)
			if err != nil || d.Exit == nil || d.Exit.Signal != "SIGKILL" {
				t.Fatalf("the verdict has no proof: %+v, %v", d, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no failure of %s is stored", name)
		}
		s.waitRunning(map[string]uint64{name: incarnation + 1})
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(100 * time.Microsecond) }
	t.Logf("from kill -9 to the stored proof: median %s, p99 %s, at most %s of %d", at(0.5), at(0.99), at(1), kills)
	if os.Getenv("E2E_SCALE") != "" && at(0.99) > 10*time.Millisecond {
		t.Errorf("the 99th percentile is %s", at(0.99))
	}
}

// TestConnectionEvidence kills agents that no runner started. The embedded server
// tells the detector that their connections were closed.
func TestConnectionEvidence(t *testing.T) {
	const interval = time.Second
	kills := 5
	if os.Getenv("E2E_SCALE") != "" {
		kills = 50
	} else {
		t.Parallel()
	}
	_, url := up(t, t.TempDir(), foreignConfig)
	s := &system{t: t, url: url}
	s.connect()
	failures := s.failures(t)
	s.bystanders(t, 300)          // or the dead were most of the fleet, which is a finding of its own
	<-time.After(6 * time.Second) // a detector that has just started gives grace
	var agents []*process
	for i := range 5 {
		agents = append(agents, start(t, bin("worker"), []string{
			contracts.EnvNATSURL + "=" + url, contracts.EnvAgent + "=" + fmt.Sprint("free-", i), contracts.EnvHeartbeatInterval + "=" + interval.String(),
		}))
	}
	healthy := func(name string) {
		t.Helper()
		eventually(t, 20*time.Second, name+" to be healthy", func() bool { return s.agentView(name).Health == contracts.HealthHealthy })
	}
	var took []time.Duration
	for i := range kills {
		agent, name := agents[i%len(agents)], fmt.Sprint("free-", i%len(agents))
		healthy(name)
		began := time.Now()
		agent.Kill()
		select {
		case f := <-failures:
			took = append(took, f.at.Sub(began))
			d, err := contracts.DecodeData[contracts.AgentFailedData](f.event)
			if err != nil || f.event.Entity != name || string(d.Reason) != "connection_lost" {
				t.Fatalf("killed %s: %s of %s, %v", name, d.Reason, f.event.Entity, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no verdict on %s", name)
		}
		agent.Start()
		healthy(name) // many that are gone together would be a finding of its own
	}
	slices.Sort(took)
	median, most := took[len(took)/2], took[len(took)-1]
	t.Logf("from kill -9 to the stored verdict, at an interval of %s: median %s, at most %s of %d", interval, median.Round(time.Millisecond), most.Round(time.Millisecond), kills)
	if os.Getenv("E2E_SCALE") != "" && most > interval {
		t.Errorf("the latest took %s", most)
	}
}

// bystanders beat until the test ends.
func (s *system) bystanders(t *testing.T, n int) {
	t.Helper()
	next := time.NewTicker(time.Second)
	t.Cleanup(next.Stop)
	go func() {
		for t.Context().Err() == nil {
			for i := range n {
				_ = s.nc.Publish(contracts.HeartbeatSubject(fmt.Sprint("bystander-", i)), []byte(`{"interval":"1s","type":"worker"}`))
			}
			select {
			case <-t.Context().Done():
			case <-next.C:
			}
		}
	}()
}

type failure struct {
	event contracts.Event
	at    time.Time
}

// failures are the agent.failed events from now on, as the stream delivers them.
func (s *system) failures(t *testing.T) <-chan failure {
	t.Helper()
	cons, err := s.js.OrderedConsumer(t.Context(), contracts.EventStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contracts.EventTypeWildcard(contracts.AgentFailed)}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan failure, 1000)
	reading, err := cons.Consume(func(m jetstream.Msg) {
		at := time.Now()
		if ev, err := contracts.DecodeEvent(m.Subject(), m.Data()); err == nil {
			found <- failure{ev, at}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reading.Stop)
	return found
}
