package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// taskPayload is what the demo's agents work on.
type taskPayload struct {
	Number int                `json:"number"`
	Takes  contracts.Duration `json:"takes"`
}

const (
	minTasks  = 240
	taskEvery = 50 * time.Millisecond
)

// load submits tasks of three types until it has made enough of them and is
// told to end.
type load struct {
	js     jetstream.JetStream
	enough chan struct{}

	mu        sync.Mutex
	submitted int
}

func (l *load) run(ctx context.Context) error {
	types := []string{"research", "code", "analysis"}
	tick := time.NewTicker(taskEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.enough:
			if l.count() >= minTasks {
				return nil
			}
		case <-tick.C:
		}
		takes := time.Duration(100+37*i%200) * time.Millisecond
		if _, err := l.submit(ctx, types[i%len(types)], takes); err != nil {
			return err
		}
	}
}

// count is how many were submitted so far.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.submitted
}

// submit stores the next task in the queue, which takes whoever gets it some
// time.
func (l *load) submit(ctx context.Context, taskType string, takes time.Duration) (id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.submitted + 1
	payload, err := json.Marshal(taskPayload{Number: n, Takes: contracts.Duration(takes)})
	if err != nil {
		return "", err
	}
	id = taskID(n)
	body, err := json.Marshal(contracts.Task{ID: id, Payload: payload})
	if err != nil {
		return "", err
	}
	if _, err := l.js.Publish(ctx, contracts.TaskSubject(taskType), body, jetstream.WithMsgID("task-"+id)); err != nil {
		return "", fmt.Errorf("submit task %s: %w", id, err)
	}
	l.submitted = n
	return id, nil
}

func taskID(n int) string { return fmt.Sprintf("demo-%04d", n) }
